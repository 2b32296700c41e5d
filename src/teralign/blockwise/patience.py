"""The time that a run waits for workers.

It is longer for the first worker, and for workers that the scheduler's own process starts again: on a busy machine,
or where a hundred nodes load Python from one file system, a start takes minutes.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from teralign.progress import readable_time

_WARN_SECONDS = 30.0  # a start takes seconds; ten times that on a busy machine


@dataclass
class Patience:
    """Tells for how long a cluster may be without a worker; times in seconds."""

    lost: float
    starting: float
    own_workers: int = 0
    """The workers that the scheduler's process starts again whenever they die."""
    had_workers: bool = False
    last_seen: float = field(default_factory=time.monotonic)
    warned: bool = False

    def seen(self) -> None:
        """Note that a worker has just ended a task: a scheduler too busy to be asked may still have workers."""
        self.had_workers, self.last_seen, self.warned = True, time.monotonic(), False

    def without(self, workers: int) -> float | None:
        """Take the number of workers there are; return the time without any, when that is too long."""
        if workers:
            self.seen()
        return self._over(self._limit)

    def warning(self) -> str | None:
        """Return a sentence on what to look at, once each time that the workers stay away for a while."""
        seconds = self._over(min(_WARN_SECONDS, self._limit / 2))
        if seconds is None or self.warned:
            return None
        self.warned = True
        look = (
            "its own are started again and again, and the lines above say what ends them"
            if self.own_workers
            else "see whether the jobs of start-dask-worker run, and what their logs say"
        )
        return (
            f"no worker for {readable_time(seconds)}: {look}. Without one for {readable_time(self._limit)} "
            "(--worker-wait) the run ends."
        )

    @property
    def _limit(self) -> float:
        if not self.had_workers:
            return self.starting
        return max(self.lost, self.starting) if self.own_workers else self.lost

    def _over(self, limit: float) -> float | None:
        seconds = time.monotonic() - self.last_seen
        return seconds if seconds > limit else None
