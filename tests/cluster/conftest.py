"""Commands that are all gone when a test ends, and a watch over what the tests themselves leave behind."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from processes import Processes, wait_until

from teralign.cluster import Compute

LASTING = ("Dask-Offload", "Dask-Callback", "asyncio_", "ThreadPoolExecutor", "Profile")
"""Threads that Dask starts once in a process, and keeps."""


@pytest.fixture
def processes(tmp_path):
    started = Processes(tmp_path)
    try:
        yield started
        wait_until(lambda: not started.alive(), 10)
    finally:
        started.clear()


@dataclass(frozen=True)
class Held:
    """The children, threads and file descriptors of this process."""

    children: frozenset[int]
    threads: frozenset[str]
    descriptors: frozenset[str]

    @classmethod
    def now(cls) -> Held:
        gc.collect()
        children = [p.pid for p in psutil.Process().children() if not _is_tracker(p)]
        threads = [f"{t.name} ({t.ident})" for t in threading.enumerate() if not t.name.startswith(LASTING)]
        return cls(frozenset(children), frozenset(threads), frozenset(_descriptors()))

    def beyond(self, before: Held) -> str:
        """What is held now and was not before, as text."""
        mine, theirs = vars(self), vars(before)
        new = {name: sorted(mine[name] - theirs[name]) for name in mine}
        return ", ".join(f"{name}: {found}" for name, found in new.items() if found)


def _is_tracker(process: psutil.Process) -> bool:
    """Python starts one resource tracker, and keeps it."""
    try:
        return "resource_tracker" in " ".join(process.cmdline())
    except psutil.Error:
        return True


def _descriptors() -> Iterator[str]:
    """Open files, sockets and pipes, by number and target."""
    for link in Path("/proc/self/fd").iterdir():
        try:
            yield f"{link.name} → {link.readlink()}"
        except OSError:  # the descriptor of this very listing
            continue


@pytest.fixture(scope="session")
def _started_once():
    """Start a cluster once, so that what libraries keep for good is there before the first count."""
    with Compute(workers=1, worker_cpus=1, worker_mem_gb=0.5).connect():
        pass


@pytest.fixture(autouse=True)
def _no_leaks(_started_once):
    """No test leaves a process, a thread or a file descriptor in this process."""
    before = Held.now()
    yield
    try:
        wait_until(lambda: not Held.now().beyond(before), 5)
    except AssertionError:
        pytest.fail(f"left behind: {Held.now().beyond(before)}")
