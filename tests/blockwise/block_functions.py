"""What the tests run on blocks: importable, as workers need it."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from teralign.blockwise import BlockRecord, BlockState, Workspace
from teralign.files import writing


@dataclass(frozen=True)
class Item:
    number: int

    @property
    def name(self) -> str:
        return f"z{self.number // 10:03d}_x{self.number % 10:03d}"


@dataclass(frozen=True, kw_only=True)
class Found(BlockRecord):
    """What the functions here find."""

    metric: float | None = None
    none: float | None = None
    shape: tuple[int, ...] | None = None
    pid: int | None = None
    threads: str | None = None
    voxels: int | None = None


def items(count: int) -> list[Item]:
    return [Item(n) for n in range(count)]


def leave_trace(folder: Path, item: Item) -> int:
    """Count the calls for an item, over processes."""
    with (folder / f"calls-{item.name}").open("a") as file:
        file.write("x")
    return (folder / f"calls-{item.name}").stat().st_size


def calls(folder: Path) -> dict[str, int]:
    return {p.name.removeprefix("calls-"): p.stat().st_size for p in folder.glob("calls-*")}


def square(item: Item, *, workspace: Workspace) -> Found:
    """Write a payload that depends on the item only."""
    leave_trace(workspace.path.parent, item)
    with writing(workspace.payload("work", item.name, ".npy")) as file:
        np.save(file, np.full(100, item.number**2))
    return Found(metric=np.float32(item.number), none=np.nan, shape=np.array([1, 2]))


def payloads(workspace: Workspace) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in (workspace.path / "payloads").rglob("*.npy")}


def fail_for(item: Item, *, names: dict[str, int], workspace: Workspace, error: type[Exception]) -> Found:
    """Raise in the first so many calls for some items."""
    if leave_trace(workspace.path.parent, item) <= names.get(item.name, 0):
        raise error(f"no luck with {item.name}")
    return Found(state=BlockState.KEPT)


def kill_for(item: Item, *, names: dict[str, int], workspace: Workspace, seconds: float = 0) -> Found:
    """Kill the worker in the first so many calls for some items."""
    if leave_trace(workspace.path.parent, item) <= names.get(item.name, 0):
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(seconds)
    return Found()


def slow(item: Item, *, workspace: Workspace, seconds: float) -> Found:
    leave_trace(workspace.path.parent, item)
    time.sleep(seconds)
    return Found(pid=os.getpid(), threads=os.environ.get("OMP_NUM_THREADS"))


def hog(item: Item, *, megabytes: int) -> Found:
    """Take memory, and hold it until someone notices."""
    if item.number == 1:
        memory = np.ones(megabytes * 10**6, dtype=np.uint8)
        time.sleep(5)
        del memory
    return Found()
