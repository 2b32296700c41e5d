"""The cores and memory that this process may use, and the workers that fit in them."""

from __future__ import annotations

import contextlib
import math
import os
import resource
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from teralign.progress import counted

THREADS_VARIABLE = "TERALIGN_THREADS"
"""The environment variable that holds a worker's number of cores."""

CPUS = "cpus"
"""The Dask resource in which a worker tells its scheduler how many cores it computes with."""

GB = 10**9
ENDED_AT = 0.95
"""A worker is ended at this share of its memory limit."""

_COMFORTABLE_MEMORY = 4 * GB  # below this, fewer workers with more cores do better than more workers
_SHARE_OF_MEMORY = 0.9  # the rest is for the command's own process


@dataclass(frozen=True)
class WorkerSize:
    """The cores of a worker, and its memory limit in bytes; 0 is no limit."""

    cpus: int
    memory: int

    def __str__(self) -> str:
        cpus = counted(self.cpus, "cpu")
        return f"{cpus}, {self.memory / GB:.1f} GB" if self.memory else cpus


@dataclass(frozen=True)
class ControlGroups:
    """Linux's control groups, which limit the processes of a container or a batch job.

    `membership` is the file that names the groups of this process, `root` the folder of all groups.
    """

    membership: Path = Path("/proc/self/cgroup")
    root: Path = Path("/sys/fs/cgroup")

    def folders(self, controller: str) -> Iterator[Path]:
        """Yield the groups (versions 1 and 2) that this process is in, and their parents.

        In a container, /proc names groups that only the host can see; the outermost visible group is the container's.
        """
        for line in _read(self.membership).splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers and controller not in controllers.split(","):
                continue
            names = [controllers, controller] if controllers else ["", "unified"]
            for root in (self.root / name for name in names):
                inner = Path(path.lstrip("/"))
                yield from (root / part for part in (inner, *inner.parents))


def fit_workers(
    workers: int | None = None, cpus: int | None = None, memory_gb: float | None = None
) -> tuple[int, WorkerSize]:
    """Return how many workers to start on this machine, and their size, as `share_out` does."""
    return share_out(available_cores(), available_memory(), workers, cpus, memory_gb)


def share_out(
    cores: int,
    available: int,
    workers: int | None = None,
    cpus: int | None = None,
    memory_gb: float | None = None,
) -> tuple[int, WorkerSize]:
    """Return how many workers share `cores` and `available` bytes, and their size; None is chosen to use all.

    By default a worker has one core and at least 4 GB; where memory is short, fewer workers have more cores each.
    """
    memory = int(available * _SHARE_OF_MEMORY)
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


def allow_connections() -> None:
    """Raise this process's limit of open files as far as it may: a scheduler has two connections to each worker."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):  # macOS allows less than it says
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def available_cores(groups: ControlGroups = ControlGroups()) -> int:
    """Return the cores that this process may use, within its affinity and the quota of its container or batch job."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.floor(min([cores, *_cpu_quotas(groups)])))


def available_memory(groups: ControlGroups = ControlGroups()) -> int:
    """Return the bytes that this process may still take: free memory, within its container's or batch job's limit."""
    return int(min([psutil.virtual_memory().available, *_memory_limits(groups)]))


def _cpu_quotas(groups: ControlGroups) -> Iterator[float]:
    for folder in groups.folders("cpu"):
        text = _read(folder / "cpu.max") or " ".join(
            [_read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")]
        )
        numbers = text.split()
        if len(numbers) == 2 and numbers[0].isdigit():  # not "max", not -1
            yield max(1.0, int(numbers[0]) / int(numbers[1]))


def _memory_limits(groups: ControlGroups) -> Iterator[int]:
    for folder in groups.folders("memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            text = _read(folder / name)
            if text.isdigit():
                yield int(text)


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
