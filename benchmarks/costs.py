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
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

_LOOK_EVERY = 0.1  # seconds


@dataclass(frozen=True)
class Cost:
    """CPU seconds, wall seconds and GiB."""

    cpu_s: float
    wall_s: float
    peak_gib: float


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
    """Run a command to its end, or for `limit` wall seconds, and add up what its processes used.

    Nothing else may be run by this process at the same time: what its children used is told for all together.
    """
    before, start = _children_cpu(), time.monotonic()
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen([str(part) for part in command], stdout=out, stderr=err, env=env)
        watch = _Watch(process.pid)
        watch.start()
        try:
            process.wait(limit)
            fault = "" if process.returncode == 0 else f"failed: {_last_line(err)}"
        except subprocess.TimeoutExpired:
            fault = f"stopped after {limit:.0f} s"
        finally:
            _end(process)
            watch.join()
        out.seek(0)
        cost = Cost(_children_cpu() - before, time.monotonic() - start, watch.peak / 2**30)
        return Outcome(cost, fault, out.read())


class _Watch(threading.Thread):
    """Follows the memory of a process and its descendants until it is gone."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.pid, self.peak = pid, 0

    def run(self) -> None:
        """Look until the process has ended."""
        with contextlib.suppress(psutil.NoSuchProcess):
            root = psutil.Process(self.pid)
            while root.status() != psutil.STATUS_ZOMBIE:
                self.peak = max(self.peak, sum(map(_memory, [root, *root.children(recursive=True)])))
                time.sleep(_LOOK_EVERY)


def _memory(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except psutil.Error:
        return 0


def _end(process: subprocess.Popen[bytes]) -> None:
    """End what is left of a process and its descendants."""
    if process.poll() is None:
        family = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        for child in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        process.wait()


def _children_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _last_line(stream: object) -> str:
    """The last line of a log that says something, shortened to a phrase."""
    stream.seek(0)  # type: ignore[attr-defined]
    lines = [line.strip() for line in stream if line.strip()]  # type: ignore[attr-defined]
    return lines[-1][:120] if lines else "it said nothing"
