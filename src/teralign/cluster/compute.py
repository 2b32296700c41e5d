"""`Compute`: the workers, cores, memory and threads of a command, as one value."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from teralign.cluster.capacity import Capacity
from teralign.cluster.client import client_of, client_of_new_workers
from teralign.cluster.machine import CPUS, WorkerSize, fit_workers
from teralign.cluster.worker_wait import waiting

if TYPE_CHECKING:
    from distributed import Client

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Compute:
    """A running scheduler, or the workers to start on this machine; threads; and the folder of unfinished work.

    `scheduler` is an address, a scheduler.json, or a directory with such a file; `client` is a connection to one that
    the caller keeps and closes. Without either, `workers` are started
    with `worker_cpus` cores and `worker_mem_gb` GB each; None chooses as many as fit. `threads` (default: the cores
    of a worker) compute in each process. `work_dir` (default: OUTPUT.partial) keeps unfinished work. A run waits
    `worker_wait` seconds (default: 600) for a first worker.
    """

    scheduler: str | None = None
    workers: int | None = None
    worker_cpus: int | None = None
    worker_mem_gb: float | None = None
    threads: int | None = None
    work_dir: str | Path | None = None
    worker_wait: float | None = None
    client: Client | None = None

    @contextlib.contextmanager
    def connect(self) -> Iterator[Client]:
        """Run a Dask client; workers that it starts end with the context.

        Raises ClusterError when no scheduler answers within some seconds, InputError when workers are to be started
        from a script without a `__main__` guard.
        """
        from teralign.cluster import settings

        if self.client is not None:
            yield self.client
            return
        settings.quieten()
        with (
            waiting(self.worker_wait),
            client_of(self.scheduler) if self.scheduler else client_of_new_workers(*self._fitted()) as client,
        ):
            if self.scheduler:
                workers = len(client.nthreads())
                log.info("Connected to the Dask scheduler at %s; workers: %d", self.scheduler, workers)
            try:
                yield client
            finally:
                settings.quieten(logging.CRITICAL)

    def capacity(self) -> Capacity:
        """Return the capacity of the workers that `connect` would give; starts none.

        Raises ClusterError when no scheduler answers within some seconds.
        """
        if self.client is not None:
            return _capacity_of(self.client)
        if self.scheduler is None:
            count, size = self._fitted()
            return Capacity(count, count * size.cpus, size.memory)
        from teralign.cluster import settings

        settings.quieten()
        with client_of(self.scheduler) as client:
            return _capacity_of(client)

    def _fitted(self) -> tuple[int, WorkerSize]:
        return fit_workers(self.workers, self.worker_cpus, self.worker_mem_gb)


def _capacity_of(client: Client) -> Capacity:
    """Return the capacity of the workers that a client has now."""
    found = list(client.scheduler_info(n_workers=-1)["workers"].values())
    limits = [worker["memory_limit"] for worker in found if worker["memory_limit"]]
    cpus = sum(int(worker["resources"].get(CPUS, worker["nthreads"])) for worker in found)
    return Capacity(len(found), cpus, min(limits, default=0))
