"""What a block costs beyond its own work: client, scheduler, messages and records, with as many workers as asked for.

    python -m benchmarks scale [--blocks N]… [--workers 1000] [--processes 4] [--seconds 1]

The scheduler is `start-dask-scheduler` as users run it, the client `run_blocks`; only the blocks are made up: each
sleeps for `--seconds` (0 returns at once) and has a record. Workers are threads of a few processes, since a thousand
processes would need more memory than a test machine has; so the CPU of workers is not that of real ones.
"""

from __future__ import annotations

import argparse
import functools
import json
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from benchmarks.tables import Row, markdown
from teralign.blockwise import Block, BlockPlan, BlockRecord, Workspace, plan_blocks, run_blocks
from teralign.cluster import Compute

if TYPE_CHECKING:
    from distributed import Client
    from distributed.comm import Comm

COLUMNS = {
    "blocks": "blocks:d",
    "workers": "workers:d",
    "s a block": "seconds:g",
    "wall s": "wall_s:.1f",
    "blocks/s": "rate:.0f",
    "workers busy": "busy:.2f",
    "CPU ms a block: client": "client_ms:.2f",
    "scheduler": "scheduler_ms:.2f",
    "workers ": "workers_ms:.2f",
    "MiB: client": "client_mib:.0f",
    "scheduler ": "scheduler_mib:.0f",
    "bytes a block: client to scheduler": "sent:.0f",
    "back": "received:.0f",
    "scheduler to workers": "to_workers:.0f",
    "and back": "from_workers:.0f",
    "s to resume": "resume_s:.1f",
}
_START_SECONDS = 600


def sleep_through(block: Block, *, seconds: float) -> BlockRecord:
    """A block of known length."""
    if seconds:
        time.sleep(seconds)
    return BlockRecord()


def scale(
    blocks: int, workers: int, processes: int, seconds: float, folder: Path, scheduler_command: Sequence[str] = ()
) -> Row:
    """Run `blocks` blocks of `seconds` on `workers` workers in a few processes; then resume the finished run.

    `scheduler_command` starts a scheduler for the folder that is added to it (default: start-dask-scheduler).
    """
    plan = blocks_in_all(blocks)
    function = functools.partial(sleep_through, seconds=seconds)
    command = scheduler_command or ("teralign", "start-dask-scheduler", "--workers", "0", "--dir")
    with running(command, folder / "dask") as scheduler, ExitStack() as hosts:
        started = [hosts.enter_context(_host(folder / "dask", workers // processes)) for _ in range(processes)]
        with Compute(scheduler=str(folder / "dask")).connect() as client:
            client.wait_for_workers(workers, timeout=_START_SECONDS)
            everyone = [psutil.Process(), scheduler, *(psutil.Process(host.pid) for host in started)]
            cpu, sent, began = [_cpu(process) for process in everyone], _carried(_comm(client)), time.monotonic()
            run_blocks(function, plan, client=client, workspace=Workspace(folder / "blocks"), stage="align")
            wall = time.monotonic() - began
            used = [1e3 * (_cpu(process) - before) / len(plan) for process, before in zip(everyone, cpu, strict=True)]
            sent = _less(_carried(_comm(client)), sent)
            memory = [_peak(process) for process in everyone]
        at_workers = [sum(parts) for parts in zip(*(_told(host) for host in started), strict=True)]
    return {
        "blocks": len(plan),
        "workers": workers,
        "seconds": seconds,
        "wall_s": wall,
        "rate": len(plan) / wall,
        "busy": len(plan) * seconds / wall / workers,
        "start_s": sum(cpu[1:]),
        "client_ms": used[0],
        "scheduler_ms": used[1],
        "workers_ms": sum(used[2:]),
        "client_mib": memory[0],
        "scheduler_mib": memory[1],
        "sent": sent[0] / len(plan),
        "received": sent[1] / len(plan),
        "to_workers": at_workers[1] / len(plan),
        "from_workers": at_workers[0] / len(plan),
        "resume_s": _resume(plan, folder),
    }


def blocks_in_all(count: int) -> BlockPlan:
    """About `count` blocks, as many along each axis."""
    side = round(count ** (1 / 3))
    return plan_blocks((100 * side, 100 * side, 100 * max(1, round(count / side**2))), (100, 100, 100))


def main(arguments: Sequence[str]) -> None:
    """Print a row for each number of blocks."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks scale", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--blocks", type=int, action="append", help="repeats; default 10000")
    parser.add_argument("--workers", type=int, default=1000, help="default 1000")
    parser.add_argument("--processes", type=int, default=4, help="that the workers share; default 4")
    parser.add_argument("--seconds", type=float, default=1.0, help="of a block; default 1")
    options = parser.parse_args(arguments)
    rows: list[Row] = []
    for blocks in options.blocks or [10_000]:
        with tempfile.TemporaryDirectory() as folder:
            rows.append(scale(blocks, options.workers, options.processes, options.seconds, Path(folder)))
        print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    print(markdown(rows, COLUMNS))


@contextmanager
def running(module: Sequence[str], directory: Path) -> Iterator[psutil.Process]:
    """Run a module that publishes a scheduler in a directory, with that as its last argument, within the context."""
    command = [sys.executable, "-m", *module, str(directory)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not (directory / "scheduler.json").exists():
            time.sleep(0.1)
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait()


@contextmanager
def _host(directory: Path, count: int) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "benchmarks.scale_workers", str(directory), str(count)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _told(host: subprocess.Popen[str]) -> tuple[int, int]:
    """The bytes that the workers of a host have sent and received."""
    said, _ = host.communicate("\n", timeout=_START_SECONDS)
    sent, received = map(int, said.split())
    return sent, received


def _resume(plan: BlockPlan, folder: Path) -> float:
    """The seconds in which a run finds all its blocks finished."""
    began = time.monotonic()
    done = run_blocks(sleep_through, plan, client=None, workspace=Workspace(folder / "blocks"), stage="align")
    assert done.resumed == len(plan)
    return time.monotonic() - began


def carried(connection: socket.socket) -> tuple[int, int]:
    """The bytes that a TCP connection has sent and received so far, as Linux counts them (tcp_info)."""
    found = struct.unpack_from("<QQ", connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 136), 120)
    return int(found[0]), int(found[1])


def _carried(comm: Comm) -> tuple[int, int]:
    return carried(comm.stream.socket)


def _comm(client: Client) -> Comm:
    return client.scheduler_comm.comm


def _less(now: tuple[int, int], before: tuple[int, int]) -> tuple[int, int]:
    return now[0] - before[0], now[1] - before[1]


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _peak(process: psutil.Process) -> float:
    """The largest resident memory so far, in MiB."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 1024
