"""The workers that a command will have, as far as they are known before its first block."""

from __future__ import annotations

import math
from dataclasses import dataclass

from teralign.cluster.client import client_of
from teralign.cluster.machine import ENDED_AT, GB, fit_workers, worker_threads
from teralign.errors import InputError

CPUS = "cpus"
"""By this name a worker tells its scheduler how many cores it computes with."""


@dataclass(frozen=True)
class Crew:
    """How many workers, the cores of all of them together, and the bytes that the smallest may take; 0 is no limit.

    A scheduler may have no workers yet: what they may take is not known then, and time is that of one core.
    """

    workers: int
    cpus: int
    memory: int = 0

    @classmethod
    def here(cls, threads: int | None = None) -> Crew:
        """Only the process that asks."""
        return cls(1, threads or worker_threads())

    def __str__(self) -> str:
        cpus = f"{self.cpus} cpu{'s' if self.cpus > 1 else ''}"
        return cpus if self.workers < 2 else f"{self.workers} workers with {cpus}"

    def seconds(self, cpu_seconds: float, blocks: int) -> float:
        """How long so many blocks take that need so much CPU time together; one worker does each."""
        workers = max(1, self.workers)
        rounds = math.ceil(blocks / workers)
        return cpu_seconds / max(1, blocks) * rounds * workers / max(1, self.cpus)

    def check(self, needed: int, remedy: str) -> None:
        """Raise InputError when a block that takes `needed` bytes is too large for a worker.

        `remedy` says by which option blocks take less, if by any.
        """
        if self.memory and needed > ENDED_AT * self.memory:
            wanted = f"{remedy}, or larger workers" if remedy else "larger workers"
            raise InputError(
                f"a block takes up to {needed / GB:.2f} GB of memory, but a worker has {self.memory / GB:.2f} GB and "
                f"is ended at {ENDED_AT:.0%} of that; give {wanted} (--worker-mem-gb)."
            )


def find_crew(
    scheduler: str | None = None,
    workers: int | None = None,
    worker_cpus: int | None = None,
    worker_mem_gb: float | None = None,
) -> Crew:
    """The workers that `connect` gives for the same arguments; none is started.

    ClusterError when no scheduler answers within some seconds.
    """
    if scheduler is None:
        count, size = fit_workers(workers, worker_cpus, worker_mem_gb)
        return Crew(count, count * size.cpus, size.memory)
    from teralign.cluster import settings

    settings.quieten()
    with client_of(scheduler) as client:
        found = list(client.scheduler_info()["workers"].values())
    limits = [worker["memory_limit"] for worker in found if worker["memory_limit"]]
    cpus = sum(int(worker["resources"].get(CPUS, worker["nthreads"])) for worker in found)
    return Crew(len(found), cpus, min(limits, default=0))
