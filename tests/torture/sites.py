"""Places where a run computes: their options, and what a run may leave there."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import psutil

from nextflow.runs import processes


@dataclass(frozen=True)
class Site:
    """A place where the tasks of a run compute.

    `jobs` lists what its scheduler or its container engine still holds.
    """

    name: str
    options: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    worker_tasks: bool = True
    jobs: Callable[[], list[str]] = list

    def processes(self, mark: str) -> list[psutil.Process]:
        """The processes of a run, which has this mark."""
        return [process for process in processes(mark) if _runs(process)]


def _runs(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


_SMALL = ("--use_bigstream", "--bigstream_workers", "2", "--bigstream_worker_mem_gb", "1.5")
_HERE = ("-profile", "demo", "--bigstream_cluster")

SITES = ("local", "tasks", "slurm", "podman")
"""All workers of a driver in its own task; workers as tasks of their own, on this machine; as jobs of a Slurm; and in
containers of Podman.
"""


@contextlib.contextmanager
def site_of(name: str) -> Iterator[Site]:
    """Bring a site up, for as long as the context lasts."""
    if name == "local":
        yield Site(name, (*_SMALL, *_HERE, "local"), worker_tasks=False)
    elif name == "tasks":
        yield Site(name, (*_SMALL, *_HERE, "nextflow"))
    else:
        with {"slurm": _slurm, "podman": _podman}[name]() as site:
            yield site


@contextlib.contextmanager
def _slurm() -> Iterator[Site]:
    from schedulers.slurm import running_slurm

    with running_slurm() as slurm:
        yield Site(
            "slurm",
            (*_SMALL, "-profile", "slurm"),
            slurm.environ,
            jobs=lambda: [f"job {job.number} ({job.name}, {job.state})" for job in slurm.queue()],
        )


@contextlib.contextmanager
def _podman() -> Iterator[Site]:
    from torture.podman import running_podman

    with running_podman() as podman:
        yield Site(
            "podman",
            (*_SMALL, *("-profile", "demo,podman"), "--container", podman.image, "--bigstream_cluster", "nextflow"),
            podman.environ,
            jobs=podman.containers,
        )
