"""A Dask client of a scheduler that runs, or of a cluster started for the occasion."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from teralign.cluster import rendezvous
from teralign.cluster.machine import fit_workers
from teralign.errors import ClusterError

if TYPE_CHECKING:
    from distributed import Client

log = logging.getLogger(__name__)

_CONNECT_SECONDS = 8
_RETRY_SECONDS = 0.5


@contextlib.contextmanager
def connect(
    scheduler: str | None = None,
    workers: int | None = None,
    worker_cpus: int | None = None,
    worker_mem_gb: float | None = None,
) -> Iterator[Client]:
    """A client of `scheduler`: an address, a scheduler.json, or the directory that holds one.

    Without `scheduler`, workers are started on this machine, by default as many as fit, and end with the context.
    ClusterError when no scheduler answers within some seconds.
    """
    from teralign.cluster import settings

    settings.quieten()
    with client_of(scheduler) if scheduler else _own_cluster(workers, worker_cpus, worker_mem_gb) as client:
        if scheduler:
            log.info("Connected to the Dask scheduler at %s, which has %d workers", scheduler, len(client.nthreads()))
        try:
            yield client
        finally:
            settings.quieten(logging.CRITICAL)


@contextlib.contextmanager
def client_of(scheduler: str) -> Iterator[Client]:
    """A client of a scheduler that runs; ClusterError when none answers within some seconds."""
    from distributed import Client

    address = find(scheduler)
    if not _answers_soon(address):  # Dask's client waits for ever where something else listens
        found_in = "" if address == scheduler else f" ({scheduler})"
        raise ClusterError(f"No Dask scheduler answers at {address}{found_in}: start one, or correct --scheduler.")
    with Client(address, timeout=_CONNECT_SECONDS, set_as_default=False) as client:
        yield client


def _answers_soon(address: str) -> bool:
    async def ask() -> bool:
        end = time.monotonic() + _CONNECT_SECONDS
        while not await rendezvous.answers(address):
            if time.monotonic() > end:
                return False
            await asyncio.sleep(_RETRY_SECONDS)
        return True

    with ThreadPoolExecutor(1) as pool:  # a notebook has an event loop already in its own thread
        return pool.submit(asyncio.run, ask()).result()


@contextlib.contextmanager
def _own_cluster(workers: int | None, cpus: int | None, memory_gb: float | None) -> Iterator[Client]:
    from distributed import Client

    from teralign.cluster.local import local_cluster

    count, size = fit_workers(workers, cpus, memory_gb)
    log.info("Starting Dask workers on this machine: %d × (%s)", count, size)
    with local_cluster(count, size) as address, Client(address, set_as_default=False) as client:
        yield client


def find(scheduler: str) -> str:
    """The address that `scheduler` stands for; ClusterError when it is a file or directory without one."""
    path = Path(scheduler)
    if "://" in scheduler:
        return scheduler
    if not path.exists() and scheduler.rpartition(":")[2].isdigit():
        return f"tcp://{scheduler}"
    found = rendezvous.read(path if path.is_dir() else path.parent) if path.name else None
    if path.is_file() and path.name != rendezvous.SCHEDULER_FILE:
        found = rendezvous.read_file(path)
    if found is None:
        raise ClusterError(f"{scheduler} does not say where a Dask scheduler is: start one, or correct --scheduler.")
    return found.address
