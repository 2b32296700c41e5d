"""Dask workers that run one block at a time, tied to a scheduler."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass

from distributed import Nanny
from distributed.comm.core import connect
from distributed.core import Status
from distributed.security import Security

from teralign.cluster import settings
from teralign.cluster.closing import within
from teralign.cluster.machine import CPUS, WorkerSize
from teralign.cluster.network import Network
from teralign.cluster.servers import PrivateWorker

log = logging.getLogger(__name__)

_LEAVE_SECONDS = 3.0
_END_SECONDS = 20.0
_LOOK_SECONDS = 1.0
_RESTART_SECONDS = 30.0


@dataclass(frozen=True)
class OwnWorkers:
    """The workers of this process tree: their number and size, where they listen, and what lets them in."""

    count: int
    size: WorkerSize
    network: Network
    security: Security


@contextlib.asynccontextmanager
async def serving(address: str, workers: OwnWorkers) -> AsyncIterator[None]:
    """Run workers within the context, restarting any that die; does not wait for them to start."""
    tasks = [asyncio.create_task(_keep_serving(address, workers, number)) for number in range(workers.count)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _keep_serving(address: str, workers: OwnWorkers, number: int) -> None:
    while True:
        try:
            await serve(address, workers.size, workers.network, workers.security)
        except (OSError, RuntimeError) as error:
            log.warning("Worker %d could not be started and is tried again: %s", number, reason(error))
        await asyncio.sleep(_LOOK_SECONDS)


def reason(error: BaseException) -> str:
    """Return what Dask's "failed to start" stands for, on one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(str(error).split()) or type(error).__name__


async def serve(address: str, size: WorkerSize, network: Network, security: Security) -> None:
    """Run a worker of the scheduler at `address` until the scheduler disappears, or until cancelled.

    A worker process that dies is replaced. Raises OSError or RuntimeError when no worker can be started, InputError
    when the network interface does not exist.
    """
    nanny = Nanny(
        address,
        nthreads=1,
        memory_limit=size.memory,
        resources={CPUS: size.cpus},
        env=settings.worker_environment(size),
        # Not the process number: containers on a host's network share its name, and each counts processes from 1.
        name=f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}",
        worker_class=PrivateWorker,
        host=network.address(),  # also of the worker process
        port=network.port(),
        worker_port=network.port(),
        security=security,
        dashboard=False,
    )
    living = asyncio.create_task(_live(nanny))
    gone = asyncio.create_task(_until_gone(address, security))
    try:
        await asyncio.wait({living, gone}, return_when=asyncio.FIRST_COMPLETED)
        if living.done():
            living.result()
    finally:
        await within(_END_SECONDS, _end(nanny), "A worker's nanny")
        living.cancel()
        gone.cancel()
        ended, _ = await asyncio.wait({living, gone}, timeout=_LEAVE_SECONDS)
        await asyncio.gather(*ended, return_exceptions=True)


async def _live(nanny: Nanny) -> None:
    """Start the worker, and wait until its nanny ends or gives up on replacing it."""
    await nanny
    seconds_without = 0.0
    while nanny.status is not Status.closed and seconds_without < _RESTART_SECONDS:
        await asyncio.sleep(_LOOK_SECONDS)
        seconds_without = 0.0 if nanny.is_alive() else seconds_without + _LOOK_SECONDS


async def _end(nanny: Nanny) -> None:
    """End the worker whatever it is doing; a nanny alone would wait for a worker that is just starting."""
    starting = nanny.process
    if starting and starting.process and starting.status is Status.starting:
        await starting.process.kill()
    with contextlib.suppress(OSError, TimeoutError):
        await nanny.close(timeout=_LEAVE_SECONDS)


async def _until_gone(address: str, security: Security) -> None:
    """Wait until the scheduler closes a connection, or its host no longer answers."""
    with contextlib.suppress(OSError):
        comm = await connect(address, **security.get_connection_args("worker"))
        try:
            await comm.read()
        finally:
            comm.abort()
