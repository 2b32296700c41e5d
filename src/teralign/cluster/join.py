"""A worker that joins the scheduler of a directory, and leaves with it."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from pathlib import Path

from teralign.cluster import rendezvous, settings
from teralign.cluster.machine import WorkerSize, fit_workers
from teralign.cluster.network import ANYWHERE, Network, described_interfaces
from teralign.cluster.rendezvous import SchedulerInfo, answers
from teralign.cluster.signals import Signals
from teralign.cluster.worker import reason, serve
from teralign.errors import ClusterError
from teralign.progress import readable_time

log = logging.getLogger(__name__)

_SILENT_SECONDS = 60.0
_QUICK_SECONDS = 5.0
_QUICK_ENDS = 3


def run_worker(
    directory: Path,
    *,
    worker_cpus: int | None = None,
    worker_mem_gb: float | None = None,
    network: Network = ANYWHERE,
    wait: float = 300.0,
    rejoin: float = 60.0,
) -> int:
    """Work for the scheduler of `directory` until it says that the work is over, and return the exit code.

    The scheduler may take up to `wait` seconds to appear. When it disappears without saying that the work is over,
    the scheduler of the next attempt may take up to `rejoin` seconds. The exit code is 0 whatever happens to the
    scheduler, and 128 + n when signal n ended the worker.
    Raises InputError when the network interface does not exist or the directory is another user's, ClusterError when
    there is no such directory, when the scheduler cannot be reached from here, or when no worker can be started.
    """
    network.address()
    rendezvous.check_owner(directory)
    _, size = fit_workers(1, worker_cpus, worker_mem_gb)
    settings.quieten()
    os.environ.update(settings.worker_environment(size))
    return asyncio.run(_work_until_signal(directory.absolute(), size, network, wait, rejoin))


async def _work_until_signal(directory: Path, size: WorkerSize, network: Network, wait: float, rejoin: float) -> int:
    with Signals() as signals:
        signal_received = asyncio.create_task(signals.next())
        work = asyncio.create_task(_work(directory, size, network, wait, rejoin))
        await asyncio.wait({signal_received, work}, return_when=asyncio.FIRST_COMPLETED)
        settings.quieten(logging.CRITICAL)
        if work.done():
            signal_received.cancel()
            work.result()
            return 0
        work.cancel()
        await asyncio.wait({work})
        received = signal_received.result()
        assert received is not None
        log.info("Leaving after %s", received.name)
        return 128 + received


async def _work(directory: Path, size: WorkerSize, network: Network, wait: float, rejoin: float) -> None:
    """Join one scheduler after another until the work is over or no scheduler appears."""
    patience, quick_ends = wait, 0
    found: SchedulerInfo | None = None
    while (found := await _find(directory, patience, found)) is not None:
        log.info("Joining the scheduler at %s with %s", found.address, size)
        started = time.monotonic()
        await _serve(found, directory, size, network)
        patience = rejoin
        quick_ends = quick_ends + 1 if time.monotonic() - started < _QUICK_SECONDS else 0
        if quick_ends == _QUICK_ENDS and not rendezvous.is_over(directory):
            raise ClusterError(f"A worker for the scheduler at {found.address} ended again and again within seconds.")
    log.info("The work is over" if rendezvous.is_over(directory) else "No scheduler to work for: leaving")


async def _find(directory: Path, patience: float, left: SchedulerInfo | None) -> SchedulerInfo | None:
    """Return the scheduler of the directory once it answers; None when the work is over or none appears in time.

    `left` is the last one, which has gone. Raises ClusterError when there is no such directory, or when another
    scheduler is published there but does not answer.
    """
    began = time.monotonic()
    silent, silent_since = left, began
    waits = False
    while not rendezvous.is_over(directory):
        found = rendezvous.read(directory)
        if found and await answers(found):
            return found
        if not waits:
            log.info("Waiting up to %s for a scheduler in %s", readable_time(patience), directory)
            waits = True
        now = time.monotonic()
        if found and found != silent:
            log.warning("The scheduler of %s does not answer at %s yet", directory, found.address)
            silent, silent_since = found, now
        if found and found != left and now - silent_since > min(patience, _SILENT_SECONDS):
            raise ClusterError(_unreachable(found, now - silent_since))
        if now - began > patience:
            if not directory.exists():
                raise ClusterError(f"There is no directory {directory}: no scheduler was started with this --dir.")
            return None
        await asyncio.sleep(rendezvous.POLL_SECONDS)
    return None


def _unreachable(found: SchedulerInfo, seconds: float) -> str:
    """Return the sentence about a scheduler that does not answer here."""
    here = socket.gethostname()
    if found.is_local() and found.host != here:
        return f"The scheduler at {found.address} listens on {found.host} only: start it without --local."
    return (
        f"{here} has not reached the scheduler at {found.address} (process {found.pid} on {found.host}) for "
        f"{readable_time(seconds)}: it has died, they do not share that network, or a firewall is between them. Name "
        f"a network with --interface ({here} has {described_interfaces()}) and open ports with --ports, for both."
    )


async def _serve(found: SchedulerInfo, directory: Path, size: WorkerSize, network: Network) -> None:
    """Work for one scheduler until it disappears or the work is over."""
    serving = asyncio.create_task(serve(found.address, size, network, found.security()))
    try:
        while not serving.done() and not rendezvous.is_over(directory):
            await asyncio.wait({serving}, timeout=rendezvous.POLL_SECONDS)
        if serving.done():
            serving.result()
    except (OSError, RuntimeError) as error:
        log.warning("No worker could be started for the scheduler at %s: %s", found.address, reason(error))
    finally:
        serving.cancel()
        await asyncio.wait({serving})
