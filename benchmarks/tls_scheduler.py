"""A scheduler with workers of its own, as of a driver, with TLS or without, for `benchmarks.tls`.

    python -m benchmarks.tls_scheduler tls|plain WORKERS DIRECTORY

It is published in the directory, and ends by SIGTERM.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from distributed.security import Security

from teralign.cluster import GB, WorkerSize, rendezvous
from teralign.cluster.credentials import new_credentials, security_by
from teralign.cluster.machine import allow_connections
from teralign.cluster.network import Network
from teralign.cluster.rendezvous import SchedulerInfo
from teralign.cluster.servers import running_scheduler
from teralign.cluster.signals import Signals
from teralign.cluster.worker import OwnWorkers, serving


async def serve(kind: str, workers: int, directory: Path) -> None:
    """Run until a signal comes."""
    allow_connections()
    directory.mkdir(parents=True)
    tls = kind == "tls"
    security = security_by(rendezvous.prepare(directory, new_credentials())) if tls else Security()
    own = OwnWorkers(workers, WorkerSize(1, 2 * GB), Network(local=True), security)
    with Signals() as signals:
        async with running_scheduler(own.network, security, workers) as scheduler, serving(scheduler.address, own):
            if tls:
                rendezvous.publish(directory, SchedulerInfo(scheduler.address, scheduler.id))
            else:
                found = {"address": scheduler.address, "id": scheduler.id}
                (directory / "new").write_text(json.dumps(found))
                (directory / "new").rename(directory / rendezvous.SCHEDULER_FILE)
            await signals.next()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])))
