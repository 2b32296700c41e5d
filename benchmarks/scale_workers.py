"""Many Dask workers of one thread each in this process, for `benchmarks.scale`.

    python -m benchmarks.scale_workers DIRECTORY COUNT

They join the scheduler of the directory, and after a line on stdin print the bytes that all have sent and received.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import warnings
from pathlib import Path

import dask

from benchmarks.scale import carried
from teralign.cluster import rendezvous, settings
from teralign.cluster.servers import PrivateWorker

_AT_ONCE = 8
# Clocks of each worker, which together would fill the process: by default 250 workers wake it 12 500 times a second.
_RARELY = {"distributed.admin.tick.interval": "10s", "distributed.admin.system-monitor.interval": "60s"}


async def serve(directory: Path, count: int) -> None:
    """Run the workers until the line comes."""
    settings.quieten(logging.CRITICAL)
    warnings.filterwarnings("ignore", "Creating scratch directories")
    dask.config.set(_RARELY)
    found = rendezvous.read(directory)
    assert found is not None
    security = found.security()
    one_of = asyncio.Semaphore(_AT_ONCE)

    async def start() -> PrivateWorker:
        async with one_of:
            return await PrivateWorker(found.address, nthreads=1, memory_limit=0, dashboard=False, security=security)

    workers = await asyncio.gather(*(start() for _ in range(count)))
    await asyncio.to_thread(sys.stdin.readline)
    bytes_of = [carried(worker.batched_stream.comm.stream.socket) for worker in workers]
    print(*(sum(parts) for parts in zip(*bytes_of, strict=True)), flush=True)


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), int(sys.argv[2])))
