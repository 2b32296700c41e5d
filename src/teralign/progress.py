"""Progress of long work, as log lines with an estimate of the remaining time; numbers as people write them."""

from __future__ import annotations

import logging
import time


class Progress:
    """A count of finished items, logged at most every `interval` seconds and once at the end."""

    def __init__(self, total: int, what: str, log: logging.Logger, *, interval: float = 5.0) -> None:
        self._total, self._what, self._log, self._interval = total, what, log, interval
        self._done = self._skipped = 0
        self._started = self._last = time.monotonic()

    def skip(self, count: int) -> None:
        """Count items that an earlier run finished, which the estimate of the remaining time leaves out."""
        self._done += count
        self._skipped += count

    def advance(self, count: int = 1) -> None:
        """Count `count` more finished items."""
        self._done += count
        now = time.monotonic()
        if now - self._last >= self._interval or self._done == self._total:
            self._last = now
            self._log.info("%s", self._line(now - self._started))

    def _line(self, elapsed: float) -> str:
        worked = self._done - self._skipped
        line = f"{self._what}: {self._done} of {self._total} ({100 * self._done // max(1, self._total)} %)"
        if self._done < self._total and worked:
            return f"{line}, {readable_time(elapsed / worked * (self._total - self._done))} left"
        return f"{line} in {readable_time(elapsed)}"


def readable_time(seconds: float) -> str:
    """Return a duration as people write it: 8 s, 3 min 20 s, 2 h 05 min."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    minutes, seconds = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes} min {seconds:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, as 1 block or 8 blocks."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
