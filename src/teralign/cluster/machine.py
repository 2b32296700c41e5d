"""The cores and memory that this process may use, and the workers that fit in them."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

THREADS_VARIABLE = "TERALIGN_THREADS"
"""The environment variable that holds a worker's number of cores."""

CPUS = "cpus"
"""The Dask resource in which a worker tells its scheduler how many cores it computes with."""

GB = 10**9
ENDED_AT = 0.95
"""A worker is ended at this share of its memory limit."""

_COMFORTABLE_MEMORY = 4 * GB  # below this, fewer workers with more cores do better than more workers
_SHARE_OF_MEMORY = 0.9  # the rest is for the command's own process
_CGROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class WorkerSize:
    """The cores of a worker, and its memory limit in bytes; 0 is no limit."""

    cpus: int
    memory: int

    def __str__(self) -> str:
        cpus = f"{self.cpus} cpu{'s' if self.cpus > 1 else ''}"
        return f"{cpus}, {self.memory / GB:.1f} GB" if self.memory else cpus


def fit_workers(
    workers: int | None = None, cpus: int | None = None, memory_gb: float | None = None
) -> tuple[int, WorkerSize]:
    """Return how many workers to start on this machine, and their size; None is chosen to fill the machine.

    By default a worker has one core and at least 4 GB; where memory is short, fewer workers have more cores each.
    """
    cores = available_cores()
    memory = int(available_memory() * _SHARE_OF_MEMORY)
    if workers is None:
        by_memory = memory // (int(memory_gb * GB) if memory_gb else _COMFORTABLE_MEMORY)
        workers = max(1, min(cores // (cpus or 1), by_memory))
    size = WorkerSize(
        cpus=cpus or max(1, cores // workers),
        memory=int(memory_gb * GB) if memory_gb else memory // workers,
    )
    return workers, size


def worker_threads() -> int:
    """Return the cores to compute with: the cores of this Dask worker, or else all cores of this process."""
    return int(os.environ.get(THREADS_VARIABLE, 0)) or available_cores()


def available_cores() -> int:
    """Return the cores that this process may use, within its affinity and the quota of its container or batch job."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.floor(min([cores, *_cpu_quotas()])))


def available_memory() -> int:
    """Return the bytes that this process may still take: free memory, within its container's or batch job's limit."""
    return int(min([psutil.virtual_memory().available, *_memory_limits()]))


def _cpu_quotas() -> Iterator[float]:
    for folder in _own_cgroups("cpu"):
        text = _read(folder / "cpu.max") or " ".join(
            [_read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")]
        )
        numbers = text.split()
        if len(numbers) == 2 and numbers[0].isdigit():  # not "max", not -1
            yield max(1.0, int(numbers[0]) / int(numbers[1]))


def _memory_limits() -> Iterator[int]:
    for folder in _own_cgroups("memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            text = _read(folder / name)
            if text.isdigit():
                yield int(text)


def _own_cgroups(controller: str) -> Iterator[Path]:
    """Yield the control groups (versions 1 and 2) that this process is in, and their parents.

    In a container, /proc names groups that only the host can see; the outermost visible group is the container's.
    """
    for line in _read(Path("/proc/self/cgroup")).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        roots = [_CGROUPS / controllers, _CGROUPS / controller] if controllers else [_CGROUPS, _CGROUPS / "unified"]
        for root in roots:
            inner = Path(path.lstrip("/"))
            yield from (root / part for part in (inner, *inner.parents))


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
