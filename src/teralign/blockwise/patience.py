"""The time that a run waits for workers.

It is longer for the first worker, and for workers that the scheduler's own process starts again: on a busy machine,
or where a hundred nodes load Python from one file system, a start takes minutes.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass
class Patience:
    """Tells for how long a cluster may be without a worker; times in seconds."""

    lost: float
    starting: float
    own_workers: int = 0
    """The workers that the scheduler's process starts again whenever they die."""
    had_workers: bool = False
    last_seen: float = field(default_factory=time.monotonic)

    def seen(self) -> None:
        """Note that a worker has just ended a task: a scheduler too busy to be asked may still have workers."""
        self.had_workers, self.last_seen = True, time.monotonic()

    def without(self, workers: int) -> float | None:
        """Take the number of workers there are; return the time without any, when that is too long."""
        now = time.monotonic()
        if workers:
            self.had_workers, self.last_seen = True, now
        limit = self.lost if self.had_workers and not self.own_workers else max(self.lost, self.starting)
        return now - self.last_seen if now - self.last_seen > limit else None
