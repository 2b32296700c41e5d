"""A Dask scheduler with some workers of its own, alone or around a command.

Scheduler, workers and command are one process tree. This process runs the scheduler and watches the others; workers
and command are child processes, which the kernel ends with it. Whatever ends this process therefore ends all of them:
no scheduler is left waiting for work, and no command for a scheduler.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import socket
import sys
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from distributed import Scheduler
from distributed.utils import get_ip

from teralign.cluster import leash, rendezvous, settings
from teralign.cluster.closing import started
from teralign.cluster.machine import WorkerSize, fit_workers
from teralign.cluster.rendezvous import SchedulerInfo, answers
from teralign.cluster.signals import Signals
from teralign.cluster.worker import OwnWorkers, serving
from teralign.errors import ClusterError, InputError

log = logging.getLogger(__name__)

SCHEDULER_VARIABLE = "TERALIGN_SCHEDULER"
"""The environment variable in which a command finds its scheduler."""

_GRACE_SECONDS = 8.0
_LEAVE_SECONDS = 5.0


def run_scheduler(
    directory: Path,
    command: Sequence[str] = (),
    *,
    workers: int | None = None,
    worker_cpus: int | None = None,
    worker_mem_gb: float | None = None,
    interface: str | None = None,
    last_attempt: bool = False,
) -> int:
    """Run a scheduler that workers and clients find in `directory`, and return the exit code.

    With a command, the scheduler lasts as long as the command, and the exit code is the command's (128 + n when
    signal n ended it). When the command succeeds, or fails in its last attempt, helping workers are told to leave;
    otherwise they wait for the next attempt. Without a command, the scheduler lasts until a signal or the directory
    stops it.

    `workers` (default: 1 with a command, 0 without) run in this process tree.
    Raises InputError when the command cannot be found, ClusterError when the directory has a running scheduler.
    """
    if command and shutil.which(command[0]) is None:
        raise InputError(f"There is no command {command[0]!r} to run under the scheduler.")
    count = (1 if command else 0) if workers is None else workers
    count, size = fit_workers(count, worker_cpus, worker_mem_gb) if count else (0, WorkerSize(1, 0))
    if count:
        log.info("Workers of its own: %d × (%s)", count, size)
    settings.quieten()
    environment = {**os.environ, SCHEDULER_VARIABLE: str(directory.absolute() / rendezvous.SCHEDULER_FILE)}
    os.environ.update(settings.worker_environment(size))  # for our workers, not for the command

    async def work(signals: Signals) -> int:
        return await (_run(command, environment, directory, signals) if command else _stand(directory, signals))

    return asyncio.run(_drive(work, directory.absolute(), OwnWorkers(count, size, interface), last_attempt))


async def _drive(
    work: Callable[[Signals], Awaitable[int]], directory: Path, workers: OwnWorkers, last_attempt: bool
) -> int:
    """Run a scheduler with workers while `work` runs, and leave the directory as its exit code requires."""
    await _take(directory)
    over = False
    with Signals() as signals:
        async with _scheduler(directory, workers.interface) as scheduler:
            try:
                async with serving(scheduler.address, workers):
                    code = await work(signals)
                    settings.quieten(logging.CRITICAL)
                over = code == 0 or last_attempt
            finally:
                if over:
                    rendezvous.end(directory)
                rendezvous.withdraw(directory)
            if over:
                await _until_left(scheduler)
    return code


async def _take(directory: Path) -> None:
    """Clear the files of an earlier scheduler from the directory; ClusterError when that one is still running."""
    found = rendezvous.read(directory)
    if found and await answers(found.address, found.id):
        raise ClusterError(
            f"A scheduler is already running in {directory} (process {found.pid} on {found.host}): "
            "choose another --dir, or stop it with stop-dask-cluster."
        )
    try:
        rendezvous.reset(directory)
    except OSError as error:
        raise InputError(f"{directory} cannot be used as --dir: {error.strerror}.") from error


@contextlib.asynccontextmanager
async def _scheduler(directory: Path, interface: str | None) -> AsyncIterator[Scheduler]:
    """Run a scheduler that is published in the directory."""
    host = None if interface else own_address()
    scheduler = Scheduler(host=host, interface=interface, port=0, dashboard=False, dashboard_address=":0")
    async with started(scheduler):
        info = SchedulerInfo(scheduler.address, scheduler.id, os.getpid(), socket.gethostname())
        rendezvous.publish(directory, info)
        log.info("The Dask scheduler listens at %s, published in %s", scheduler.address, directory)
        yield scheduler


def own_address() -> str:
    """Return the address by which other machines most likely reach this machine; the loopback if it has no other."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return str(get_ip())
        except OSError:
            return "127.0.0.1"


async def _run(command: Sequence[str], environment: Mapping[str, str], directory: Path, signals: Signals) -> int:
    """Run the command and return its exit code; signals to this process are passed on to it."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", leash.__file__, str(os.getpid()), *command),
        env=environment,
        start_new_session=True,
    )
    telling = asyncio.create_task(_tell(process.pid, directory, signals))
    try:
        code = await process.wait()
    finally:
        telling.cancel()
        await _clear_group(process.pid)
    log.info("%s ended with exit code %d", command[0], code if code >= 0 else 128 - code)
    return code if code >= 0 else 128 - code


async def _tell(group: int, directory: Path, signals: Signals) -> None:
    """Pass signals on to a process group, SIGTERM when the directory says the work is over; SIGKILL later."""
    kill_at: float | None = None
    loop = asyncio.get_running_loop()
    while kill_at is None or loop.time() < kill_at:
        received = await signals.next(timeout=rendezvous.POLL_SECONDS)
        if received is None and kill_at is None and rendezvous.is_over(directory):
            received = signal.SIGTERM
        if received is not None:
            _signal_group(group, received)
            kill_at = kill_at or loop.time() + _GRACE_SECONDS
    _signal_group(group, signal.SIGKILL)


async def _clear_group(group: int) -> None:
    """End what is left of the command's process group, gently at first."""
    for number in (0, signal.SIGTERM, signal.SIGKILL):
        for _ in range(10):
            if not _signal_group(group, number):
                return
            await asyncio.sleep(0.1)
            number = 0


def _signal_group(group: int, number: int) -> bool:
    """Send a signal (0 for none) to a process group; return whether it has any process."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    return True


async def _stand(directory: Path, signals: Signals) -> int:
    """Wait until a signal or the directory says to stop."""
    log.info("Stop it with: stop-dask-cluster --dir %s", directory)
    while not rendezvous.is_over(directory):
        if await signals.next(timeout=rendezvous.POLL_SECONDS) is not None:
            break
    return 0


async def _until_left(scheduler: Scheduler) -> None:
    """Wait a moment for workers elsewhere to leave, so that none of them takes the end for a lost scheduler."""
    for _ in range(int(_LEAVE_SECONDS / 0.1)):
        if not scheduler.workers:
            return
        await asyncio.sleep(0.1)
