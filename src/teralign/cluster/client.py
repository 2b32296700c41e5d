"""Dask clients of a running scheduler, or of workers that end with the client."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from teralign.cluster import rendezvous
from teralign.cluster.machine import WorkerSize
from teralign.cluster.main_guard import check_main_guard
from teralign.cluster.rendezvous import SchedulerInfo
from teralign.errors import ClusterError

if TYPE_CHECKING:
    from distributed import Client
    from distributed.security import Security

log = logging.getLogger(__name__)

_CONNECT_SECONDS = 8.0
_RETRY_SECONDS = 0.5


@contextlib.contextmanager
def client_of(scheduler: str, *, seconds: float = _CONNECT_SECONDS) -> Iterator[Client]:
    """Run a client of a running scheduler; ClusterError when none answers within `seconds`."""
    from distributed import Client

    found = find_scheduler(scheduler)
    security = _access_to(found, scheduler)
    if not _answers_within(seconds, found):  # where something else listens, Dask's client waits for ever
        found_in = "" if found.address == scheduler else f" ({scheduler})"
        names = "" if found.credentials else ". A scheduler of start-dask-scheduler is named by its --dir"
        raise ClusterError(
            f"No Dask scheduler answers at {found.address}{found_in}: start one, or correct --scheduler{names}."
        )
    with Client(found.address, timeout=seconds, set_as_default=False, security=security) as client:
        yield client


@contextlib.contextmanager
def client_of_new_workers(count: int, size: WorkerSize) -> Iterator[Client]:
    """Run a client of `count` new workers on this machine, which end with the context.

    Raises InputError when the main script has no guard against being imported by the workers.
    """
    from distributed import Client

    from teralign.cluster.local import local_cluster

    check_main_guard()
    log.info("Starting Dask workers on this machine: %d × (%s)", count, size)
    with (
        local_cluster(count, size) as (address, security),
        Client(address, set_as_default=False, security=security) as client,
    ):
        yield client


def find_scheduler(scheduler: str) -> SchedulerInfo:
    """Return a scheduler, given by its address, a scheduler.json, or a directory with such a file.

    Raises ClusterError when the file or directory names no scheduler.
    """
    path = Path(scheduler)
    if "://" in scheduler:
        return SchedulerInfo(scheduler)
    if not path.exists() and scheduler.rpartition(":")[2].isdigit():
        return SchedulerInfo(f"tcp://{scheduler}")
    found = rendezvous.read(path if path.is_dir() else path.parent) if path.name else None
    if path.is_file() and path.name != rendezvous.SCHEDULER_FILE:
        found = rendezvous.read_file(path)
    if found is None:
        raise ClusterError(f"{scheduler} does not name a Dask scheduler: start one, or correct --scheduler.")
    return found


def _access_to(found: SchedulerInfo, scheduler: str) -> Security:
    """Return Dask's settings for a scheduler; ClusterError when they lack the certificates that it asks for."""
    security = found.security()
    if found.credentials and not os.access(found.credentials, os.R_OK):
        raise ClusterError(
            f"The credentials of {scheduler} ({found.credentials}) cannot be read: a cluster is open to the user who "
            "started it only, while it runs."
        )
    certificates = security.get_tls_config_for_role("client")
    if found.address.startswith("tls://") and not (certificates["ca_file"] and certificates["cert"]):
        raise ClusterError(
            f"{found.address} takes encrypted connections only, and Dask's configuration has no certificates for it "
            "(distributed.comm.tls.ca-file, distributed.comm.tls.client.cert): set them, or correct --scheduler. "
            "A scheduler of start-dask-scheduler is named by its --dir."
        )
    return security


def _answers_within(seconds: float, found: SchedulerInfo) -> bool:
    async def ask() -> bool:
        end = time.monotonic() + seconds
        while not await rendezvous.answers(found):
            if time.monotonic() > end:
                return False
            await asyncio.sleep(_RETRY_SECONDS)
        return True

    with ThreadPoolExecutor(1) as pool:  # the thread of a notebook has an event loop already
        return pool.submit(asyncio.run, ask()).result()
