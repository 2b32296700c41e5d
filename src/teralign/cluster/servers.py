"""Dask's scheduler and worker as we run them: encrypted, at one address and port each, and without pages.

The HTTP server of Dask's pages would answer anyone who reaches its port.
"""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import AsyncIterator

from distributed import Scheduler, Worker
from distributed.security import Security

from teralign.cluster.closing import CLOSE_SECONDS, within
from teralign.cluster.network import Network
from teralign.cluster.own_workers import announce_own_workers
from teralign.errors import ClusterError


class _NoPages:
    """Opens no port for HTTP."""

    def start_http_server(
        self, routes: object, dashboard_address: object, default_port: int = 0, ssl_options: object = None
    ) -> None:
        """Do nothing where Dask would start the server of its pages."""


class _Scheduler(_NoPages, Scheduler):
    pass


class PrivateWorker(_NoPages, Worker):
    """A worker that listens on one port only."""


@contextlib.asynccontextmanager
async def running_scheduler(network: Network, security: Security, own_workers: int) -> AsyncIterator[Scheduler]:
    """Run a scheduler within the context, and close it afterwards.

    `own_workers` is the number of workers that the caller keeps for it. Raises InputError when the network interface
    does not exist, ClusterError when no port is free.
    """
    scheduler = await _listening(network, security)
    announce_own_workers(scheduler, own_workers)
    try:
        yield scheduler
    finally:
        await within(CLOSE_SECONDS, scheduler.close(), "The scheduler")


async def _listening(network: Network, security: Security) -> Scheduler:
    """Return a scheduler that listens at the first free port."""
    address = network.address()
    for port in network.each_port():
        scheduler = _Scheduler(host=address, port=port, dashboard=False, security=security)
        try:
            await scheduler
        except RuntimeError as error:
            if not _is_port_taken(error.__cause__):
                raise
        else:
            return scheduler
    raise ClusterError(
        f"No port of --ports {network.port()} is free at {address} on {socket.gethostname()}: give a larger range."
    )


def _is_port_taken(error: BaseException | None) -> bool:
    return isinstance(error, OSError) and error.errno == errno.EADDRINUSE
