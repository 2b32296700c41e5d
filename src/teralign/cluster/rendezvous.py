"""The directory in which a scheduler, its workers and its clients meet.

DIR/scheduler.json   the address of the scheduler; exists as long as it runs
DIR/terminate        the work is over: workers leave, and a scheduler without a command ends
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from teralign.files import write_atomically

SCHEDULER_FILE = "scheduler.json"
TERMINATE_FILE = "terminate"

POLL_SECONDS = 0.5
"""The time between two looks at the directory."""

_ANSWER_SECONDS = 3.0


@dataclass(frozen=True)
class SchedulerInfo:
    """A scheduler: its address, its unique id, and its process."""

    address: str
    id: str
    pid: int
    host: str


def publish(directory: Path, info: SchedulerInfo) -> Path:
    """Write the scheduler's file, whole or not at all, and return its path."""
    path = directory / SCHEDULER_FILE
    write_atomically(path, json.dumps(asdict(info), indent=1).encode())
    return path


def read(directory: Path) -> SchedulerInfo | None:
    """Return the scheduler of a directory, or None."""
    return read_file(directory / SCHEDULER_FILE)


def read_file(path: Path) -> SchedulerInfo | None:
    """Return the scheduler that a file names, or None; Dask's own scheduler files are read too."""
    try:
        found = json.loads(path.read_bytes())
        return SchedulerInfo(
            str(found["address"]), str(found.get("id", "")), int(found.get("pid", 0)), str(found.get("host", ""))
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def withdraw(directory: Path) -> None:
    """Remove the scheduler's file, so that no worker joins any more."""
    (directory / SCHEDULER_FILE).unlink(missing_ok=True)


def end(directory: Path) -> None:
    """Mark the work as over."""
    write_atomically(directory / TERMINATE_FILE, b"")


def is_over(directory: Path) -> bool:
    """Return whether the work is over."""
    return (directory / TERMINATE_FILE).exists()


def reset(directory: Path) -> None:
    """Create the directory, and remove the files of an earlier scheduler."""
    directory.mkdir(parents=True, exist_ok=True)
    withdraw(directory)
    (directory / TERMINATE_FILE).unlink(missing_ok=True)


async def answers(address: str, scheduler_id: str = "") -> bool:
    """Return whether a scheduler answers at `address`.

    With an id, the answer must come from that scheduler, not from a later one at the same port.
    """
    from distributed.core import rpc  # takes a while, and commands import this module before they need it

    try:
        async with rpc(address, timeout=_ANSWER_SECONDS) as scheduler:
            identity = await asyncio.wait_for(scheduler.identity(), _ANSWER_SECONDS)
    except (OSError, TimeoutError, ValueError):
        return False
    return scheduler_id in ("", identity.get("id"))
