"""Dask clients of a running scheduler, or of workers that end with the client."""

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
from teralign.cluster.machine import WorkerSize
from teralign.cluster.main_guard import check_main_guard
from teralign.errors import ClusterError

if TYPE_CHECKING:
    from distributed import Client

log = logging.getLogger(__name__)

_CONNECT_SECONDS = 8.0
_RETRY_SECONDS = 0.5


@contextlib.contextmanager
def client_of(scheduler: str, *, seconds: float = _CONNECT_SECONDS) -> Iterator[Client]:
    """Run a client of a running scheduler; ClusterError when none answers within `seconds`."""
    from distributed import Client

    address = find_address(scheduler)
    if not _answers_within(seconds, address):  # where something else listens, Dask's client waits for ever
        found_in = "" if address == scheduler else f" ({scheduler})"
        raise ClusterError(f"No Dask scheduler answers at {address}{found_in}: start one, or correct --scheduler.")
    with Client(address, timeout=seconds, set_as_default=False) as client:
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
    with local_cluster(count, size) as address, Client(address, set_as_default=False) as client:
        yield client


def find_address(scheduler: str) -> str:
    """Return the address of a scheduler, given by its address, a scheduler.json, or a directory with such a file.

    Raises ClusterError when the file or directory names no scheduler.
    """
    path = Path(scheduler)
    if "://" in scheduler:
        return scheduler
    if not path.exists() and scheduler.rpartition(":")[2].isdigit():
        return f"tcp://{scheduler}"
    found = rendezvous.read(path if path.is_dir() else path.parent) if path.name else None
    if path.is_file() and path.name != rendezvous.SCHEDULER_FILE:
        found = rendezvous.read_file(path)
    if found is None:
        raise ClusterError(f"{scheduler} does not name a Dask scheduler: start one, or correct --scheduler.")
    return found.address


def _answers_within(seconds: float, address: str) -> bool:
    async def ask() -> bool:
        end = time.monotonic() + seconds
        while not await rendezvous.answers(address):
            if time.monotonic() > end:
                return False
            await asyncio.sleep(_RETRY_SECONDS)
        return True

    with ThreadPoolExecutor(1) as pool:  # the thread of a notebook has an event loop already
        return pool.submit(asyncio.run, ask()).result()
