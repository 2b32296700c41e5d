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

from distributed import Scheduler

from teralign.cluster import settings
from teralign.cluster.closing import CLOSE_SECONDS, started
from teralign.cluster.machine import WorkerSize
from teralign.cluster.worker import OwnWorkers, serving

_HOST = "127.0.0.1"


@contextlib.contextmanager
def local_cluster(count: int, size: WorkerSize) -> Iterator[str]:
    """Run a scheduler with `count` workers, out of reach of other machines; yields its address."""
    variables = settings.worker_environment(size)
    numba = [name for name in variables if name.startswith("NUMBA")]  # must not change once numba is in use
    with settings.environment({k: v for k, v in variables.items() if k not in numba}):
        cluster = _Cluster(OwnWorkers(count, size))
        cluster.start()
        try:
            yield cluster.address.result()
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
        async with (
            started(Scheduler(host=_HOST, port=0, dashboard=False, dashboard_address=":0")) as scheduler,
            serving(scheduler.address, self._workers),
        ):
            self.address.set_result(scheduler.address)
            await self._over.wait()
