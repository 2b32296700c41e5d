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
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from distributed import Scheduler

from teralign.cluster import leash, rendezvous, settings
from teralign.cluster.credentials import new_credentials, security_by
from teralign.cluster.machine import WorkerSize, allow_connections, fit_workers
from teralign.cluster.network import ANYWHERE, Network
from teralign.cluster.rendezvous import SchedulerInfo, answers
from teralign.cluster.servers import running_scheduler
from teralign.cluster.signals import Signals
from teralign.cluster.useful_workers import promise_useful_workers
from teralign.cluster.worker import OwnWorkers, serving
from teralign.cluster.worker_wait import wait_variables, waiting
from teralign.errors import ClusterError, InputError
from teralign.lock import PATIENCE_VARIABLE

log = logging.getLogger(__name__)

SCHEDULER_VARIABLE = "TERALIGN_SCHEDULER"
"""The environment variable in which a command finds its scheduler."""

_GRACE_SECONDS = 8.0
_LEAVE_SECONDS = 5.0
_PREDECESSOR_SECONDS = 90.0  # the command of a run whose head has gone ends within a minute, and then its lock


def run_scheduler(
    directory: Path,
    command: Sequence[str] = (),
    *,
    workers: int | None = None,
    worker_cpus: int | None = None,
    worker_mem_gb: float | None = None,
    worker_wait: float | None = None,
    network: Network = ANYWHERE,
    last_attempt: bool = False,
) -> int:
    """Run a scheduler that workers and clients find in `directory`, and return the exit code.

    With a command, the scheduler lasts as long as the command, and the exit code is the command's (128 + n when
    signal n ended it). When the command succeeds, or fails in its last attempt, helping workers are told to leave;
    otherwise they wait for the next attempt. Without a command, the scheduler lasts until a signal or the directory
    stops it.

    `workers` (default: 1 with a command, 0 without) run in this process tree. The command waits `worker_wait` seconds
    (default: 600) for a first worker. Scheduler and workers listen in `network`. Only processes of this user find the
    credentials of the cluster in `directory`; others are refused.
    Raises InputError when the command or the network interface cannot be found, ClusterError when the directory has a
    running scheduler.
    """
    if command and shutil.which(command[0]) is None:
        raise InputError(f"There is no command {command[0]!r} to run under the scheduler.")
    network.address()
    count = (1 if command else 0) if workers is None else workers
    count, size = fit_workers(count, worker_cpus, worker_mem_gb) if count else (0, WorkerSize(1, 0))
    if count:
        log.info("Workers of its own: %d × (%s)", count, size)
    settings.quieten()
    allow_connections()
    if command:
        promise_useful_workers()
    environment = {
        **os.environ,
        SCHEDULER_VARIABLE: str(directory.absolute() / rendezvous.SCHEDULER_FILE),
        PATIENCE_VARIABLE: str(_PREDECESSOR_SECONDS),
        **wait_variables(worker_wait),
    }
    os.environ.update(settings.worker_environment(size))  # for our workers, not for the command

    async def work(signals: Signals) -> int:
        return await (_run(command, environment, directory, signals) if command else _stand(directory, signals))

    with waiting(worker_wait):
        return asyncio.run(_drive(work, directory.absolute(), count, size, network, last_attempt))


async def _drive(
    work: Callable[[Signals], Awaitable[int]],
    directory: Path,
    count: int,
    size: WorkerSize,
    network: Network,
    last_attempt: bool,
) -> int:
    """Run a scheduler with workers while `work` runs, and leave the directory as its exit code requires."""
    workers = OwnWorkers(count, size, network, security_by(await _take(directory)))
    over = False
    with Signals() as signals:
        async with _scheduler(directory, workers) as scheduler:
            try:
                async with serving(scheduler.address, workers):
                    code = await work(signals)
                    settings.quieten(logging.CRITICAL)
                over = code == 0 or last_attempt
            finally:
                rendezvous.leave(directory, scheduler.id, over=over)
            if over:
                await _until_left(scheduler)
    return code


async def _take(directory: Path) -> Path:
    """Make the directory ready, and return the file of the credentials; ClusterError when a scheduler runs there."""
    found = rendezvous.read(directory)
    if found and await answers(found):
        raise ClusterError(
            f"A scheduler is already running in {directory} (process {found.pid} on {found.host}): "
            "choose another --dir, or stop it with stop-dask-cluster."
        )
    try:
        return rendezvous.prepare(directory, new_credentials())
    except OSError as error:
        raise InputError(f"{directory} cannot be used as --dir: {error.strerror}.") from error


@contextlib.asynccontextmanager
async def _scheduler(directory: Path, workers: OwnWorkers) -> AsyncIterator[Scheduler]:
    """Run a scheduler that is published in the directory."""
    async with running_scheduler(workers.network, workers.security, workers.count) as scheduler:
        info = SchedulerInfo(scheduler.address, scheduler.id, os.getpid(), socket.gethostname())
        rendezvous.publish(directory, info)
        log.info("The Dask scheduler listens at %s, published in %s", scheduler.address, directory)
        yield scheduler


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
