"""Signals that ask this process to end, as events of its asyncio loop."""

from __future__ import annotations

import asyncio
import signal

_NUMBERS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Signals:
    """Collects SIGTERM, SIGINT and SIGHUP within the context, instead of letting them end the process."""

    def __init__(self) -> None:
        self._received: asyncio.Queue[signal.Signals] = asyncio.Queue()

    def __enter__(self) -> Signals:
        loop = asyncio.get_running_loop()
        for number in _NUMBERS:
            loop.add_signal_handler(number, self._received.put_nowait, number)
        return self

    def __exit__(self, *exception: object) -> None:
        loop = asyncio.get_running_loop()
        for number in _NUMBERS:
            loop.remove_signal_handler(number)

    async def next(self, timeout: float | None = None) -> signal.Signals | None:
        """Return the next signal; None when none arrives within `timeout` seconds."""
        try:
            return await asyncio.wait_for(self._received.get(), timeout)
        except TimeoutError:
            return None
