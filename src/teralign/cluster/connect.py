"""A Dask client of a scheduler that runs, or of a cluster started for the occasion."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from teralign.cluster import rendezvous
from teralign.cluster.machine import fit_workers
from teralign.errors import ClusterError

if TYPE_CHECKING:
    from distributed import Client

log = logging.getLogger(__name__)

_CONNECT_SECONDS = 10


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
    with _client_of(scheduler) if scheduler else _own_cluster(workers, worker_cpus, worker_mem_gb) as client:
        try:
            yield client
        finally:
            settings.quieten(logging.CRITICAL)


@contextlib.contextmanager
def _client_of(scheduler: str) -> Iterator[Client]:
    from distributed import Client

    address = find(scheduler)
    try:
        client = Client(address, timeout=_CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise ClusterError(
            f"No Dask scheduler answers at {address}"
            f"{'' if address == scheduler else f' ({scheduler})'}: start one, or correct --scheduler."
        ) from error
    with client:
        workers = client.nthreads()
        log.info("Connected to the Dask scheduler at %s, which has %d workers", address, len(workers))
        yield client


@contextlib.contextmanager
def _own_cluster(workers: int | None, cpus: int | None, memory_gb: float | None) -> Iterator[Client]:
    from distributed import Client, LocalCluster

    from teralign.cluster import settings

    count, size = fit_workers(workers, cpus, memory_gb)
    log.info("Starting %d Dask workers on this machine, each with %s", count, size)
    variables = settings.worker_environment(size)
    in_client = {k: v for k, v in variables.items() if not k.startswith("NUMBA")}  # numba may be at work here already
    with (
        settings.environment(in_client),
        LocalCluster(
            n_workers=count,
            threads_per_worker=1,
            memory_limit=size.memory,
            env=variables,
            dashboard_address=":0",
            scheduler_kwargs={"dashboard": False},
            silence_logs=logging.CRITICAL,
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
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
