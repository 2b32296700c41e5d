"""A scheduler and workers on this machine, for as long as this process needs them.

Dask's own LocalCluster is not used: it checks for a dead worker's successor after 15 s, and if the successor has died
by then, it starts no other. A few blocks that kill workers would leave the cluster without any worker.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import Future

from distributed.security import Security

from teralign.cluster import settings
from teralign.cluster.closing import CLOSE_SECONDS
from teralign.cluster.credentials import new_credentials, security_by
from teralign.cluster.machine import WorkerSize
from teralign.cluster.network import Network
from teralign.cluster.servers import running_scheduler
from teralign.cluster.worker import OwnWorkers, serving


@contextlib.contextmanager
def local_cluster(count: int, size: WorkerSize) -> Iterator[tuple[str, Security]]:
    """Run a scheduler with `count` workers, out of reach of other machines and users.

    Yields its address, and Dask's settings for its clients: the key never leaves the memory of these processes.
    """
    variables = settings.worker_environment(size)
    numba = [name for name in variables if name.startswith("NUMBA")]  # must not change once numba is in use
    with settings.environment({k: v for k, v in variables.items() if k not in numba}):
        security = security_by(new_credentials())
        cluster = _Cluster(OwnWorkers(count, size, Network(local=True), security))
        cluster.start()
        try:
            yield cluster.address.result(), security
        finally:
            cluster.stop()


class _Cluster(threading.Thread):
    """The thread with the event loop of scheduler and workers; `address` is set once the scheduler listens."""

    def __init__(self, workers: OwnWorkers) -> None:
        super().__init__(name="Dask cluster", daemon=True)
        self.address: Future[str] = Future()
        self._workers = workers
        self._loop = asyncio.new_event_loop()
        self._over = asyncio.Event()

    def run(self) -> None:
        """Run scheduler and workers until stopped."""
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._serve())
        except OSError as error:
            if self.address.done():
                raise
            self.address.set_exception(error)

    def stop(self) -> None:
        """Stop, and return when the workers have ended."""
        with contextlib.suppress(RuntimeError):  # the loop has ended by itself
            self._loop.call_soon_threadsafe(self._over.set)
        self.join(CLOSE_SECONDS)

    async def _serve(self) -> None:
        own = self._workers
        async with (
            running_scheduler(own.network, own.security, own.count) as scheduler,
            serving(scheduler.address, own),
        ):
            self.address.set_result(scheduler.address)
            await self._over.wait()
