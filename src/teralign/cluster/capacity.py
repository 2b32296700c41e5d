"""The workers that a command will have, as far as they are known before its first block."""

from __future__ import annotations

import math
from dataclasses import dataclass

from teralign.cluster.machine import worker_threads
from teralign.progress import counted


@dataclass(frozen=True)
class Capacity:
    """The number of workers, their cores together, and the memory limit of the smallest in bytes; 0 is no limit.

    A scheduler without workers has a capacity of 0 workers and 0 cores: times are then those of one core, and no
    memory limit is known.
    """

    workers: int
    cpus: int
    memory: int = 0

    @classmethod
    def here(cls, threads: int | None = None) -> Capacity:
        """Return the capacity of this process alone, with `threads` (default: all its cores)."""
        return cls(1, threads or worker_threads())

    def __str__(self) -> str:
        cpus = counted(max(1, self.cpus), "cpu")
        return cpus if self.workers < 2 else f"{self.workers} workers with {cpus} together"

    def seconds(self, cpu_seconds: float, blocks: int) -> float:
        """Return the time of `blocks` equal blocks, which together need `cpu_seconds` of CPU time."""
        workers = max(1, self.workers)
        rounds = math.ceil(blocks / workers)
        return cpu_seconds / max(1, blocks) * rounds * workers / max(1, self.cpus)
