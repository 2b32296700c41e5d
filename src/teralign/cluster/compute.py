"""Where a command computes, and with how much: one value from the command line down."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from teralign.cluster.capacity import Capacity
from teralign.cluster.client import client_of, connect
from teralign.cluster.machine import CPUS, fit_workers

if TYPE_CHECKING:
    from distributed import Client


@dataclass(frozen=True)
class Compute:
    """A running scheduler, or the workers to start on this machine; threads; and the folder of unfinished work.

    `scheduler` is an address, a scheduler.json, or the directory that holds one; without it, `workers` with
    `worker_cpus` cores and `worker_mem_gb` GB each are started, None choosing as many as fit. `threads` (default: the
    cores of a worker) compute in each process. `work_dir` (default: OUTPUT.partial) keeps unfinished work.
    """

    scheduler: str | None = None
    workers: int | None = None
    worker_cpus: int | None = None
    worker_mem_gb: float | None = None
    threads: int | None = None
    work_dir: str | Path | None = None

    def connect(self) -> AbstractContextManager[Client]:
        """Return a context with a Dask client; workers that it starts end with the context.

        Raises ClusterError when no scheduler answers within some seconds.
        """
        return connect(self.scheduler, self.workers, self.worker_cpus, self.worker_mem_gb)

    def capacity(self) -> Capacity:
        """Return the capacity of the workers that `connect` would give; starts none.

        Raises ClusterError when no scheduler answers within some seconds.
        """
        if self.scheduler is None:
            count, size = fit_workers(self.workers, self.worker_cpus, self.worker_mem_gb)
            return Capacity(count, count * size.cpus, size.memory)
        from teralign.cluster import settings

        settings.quieten()
        with client_of(self.scheduler) as client:
            found = list(client.scheduler_info()["workers"].values())
        limits = [worker["memory_limit"] for worker in found if worker["memory_limit"]]
        cpus = sum(int(worker["resources"].get(CPUS, worker["nthreads"])) for worker in found)
        return Capacity(len(found), cpus, min(limits, default=0))
