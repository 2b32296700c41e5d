"""What a command costs: CPU seconds, wall time and memory of all its processes together.

CPU is user and system time of the whole process tree. Memory is the greatest sum of proportional set sizes (pages
that processes share count once), looked at ten times a second.
"""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import psutil

_LOOK_EVERY = 0.1  # seconds
_PATIENCE = 6  # times the limit, in wall seconds, on a machine that others use as well


@dataclass(frozen=True)
class Cost:
    """CPU seconds, wall seconds, GiB of all processes at the same time, and of the largest of them."""

    cpu_s: float
    wall_s: float
    peak_gib: float
    largest_gib: float


@dataclass(frozen=True)
class Outcome:
    """What a command cost and printed; `fault` is a phrase that says why there is no result, or empty."""

    cost: Cost
    fault: str
    stdout: str


def with_threads(threads: int) -> dict[str, str]:
    """The environment of this process, with the threads of every library set."""
    names = ("OMP", "OPENBLAS", "MKL", "NUMBA")
    chosen = {f"{name}_NUM_THREADS": str(threads) for name in names}
    chosen |= {"ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": str(threads), "ITK_THREADS": str(threads)}
    return {**os.environ, **chosen, "TERALIGN_THREADS": str(threads)}


def run(command: Sequence[str | Path], *, limit: float, env: Mapping[str, str] | None = None) -> Outcome:
    """Run a command to its end, or until it has used `limit` CPU seconds, and add up what its processes used.

    Nothing else may be run by this process at the same time: what its children used is told for all together.
    """
    before, start = children_cpu(), time.monotonic()
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen([str(part) for part in command], stdout=out, stderr=err, env=env)
        tree = _ProcessTree(psutil.Process(process.pid))
        try:
            while process.poll() is None and not tree.look(limit, time.monotonic() - start):
                time.sleep(_LOOK_EVERY)
        finally:
            stopped = tree.end(process)
        fault = "" if process.returncode == 0 else f"failed: {_last_line(err)}"
        cost = Cost(
            cpu_s=children_cpu() - before,
            wall_s=time.monotonic() - start,
            peak_gib=tree.peak / 2**30,
            largest_gib=tree.largest / 2**30,
        )
        out.seek(0)
        return Outcome(cost, f"stopped after {cost.cpu_s:.0f} CPU s" if stopped else fault, out.read())


@dataclass
class _ProcessTree:
    """A process and its descendants, and the most memory that was seen of them (bytes)."""

    root: psutil.Process
    peak: int = 0
    largest: int = 0
    members: list[psutil.Process] = field(default_factory=list)

    def look(self, cpu_limit: float, wall: float) -> bool:
        """Note the memory; True when the limit of CPU seconds, or patience, is at its end."""
        with contextlib.suppress(psutil.NoSuchProcess):
            self.members = [self.root, *self.root.children(recursive=True)]
        looks = [_look(process) for process in self.members]
        memory = [bytes_held for bytes_held, _ in looks]
        self.peak, self.largest = max(self.peak, sum(memory)), max(self.largest, *memory)
        return sum(cpu for _, cpu in looks) > cpu_limit or wall > _PATIENCE * cpu_limit

    def end(self, process: subprocess.Popen[bytes]) -> bool:
        """End what is left of them; True when the first of them still ran."""
        running = process.poll() is None
        if running:
            for member in reversed(self.members):
                with contextlib.suppress(psutil.NoSuchProcess):
                    member.kill()
            process.wait()
        return running


def _look(process: psutil.Process) -> tuple[int, float]:
    """The memory that a process holds and the CPU seconds that it has used; nothing of one that is gone."""
    try:
        used = process.cpu_times()
        return int(process.memory_full_info().pss), used.user + used.system
    except psutil.Error:
        return 0, 0.0


def children_cpu() -> float:
    """The CPU seconds of all children of this process that have ended, with theirs."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _last_line(stream: IO[str]) -> str:
    """The last line of a log that says something, shortened to a phrase."""
    stream.seek(0)
    lines = [line.strip() for line in stream if line.strip()]
    return lines[-1][:120] if lines else "it said nothing"
