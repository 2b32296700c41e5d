"""Bounded closing of Dask's objects, which may wait for ever for a peer that has gone."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine

log = logging.getLogger(__name__)

CLOSE_SECONDS = 20.0
"""The time that a scheduler or its cluster has to close."""


async def within(seconds: float, closing: Coroutine[object, None, object], what: str) -> None:
    """Await `closing` for `seconds` at most, then cancel it; `what` names the object in the log."""
    task = asyncio.create_task(closing)
    await asyncio.wait({task}, timeout=seconds)
    if task.done():
        task.result()
    else:
        log.warning("%s does not close within %.0f s and is left as it is", what, seconds)
        task.cancel()
