"""The directory in which a scheduler, its workers and its clients meet.

DIR/scheduler.json    the address of the scheduler; exists as long as it runs
DIR/credentials.pem   lets in who reads it, only this user: the key of the scheduler, for as long as that runs
DIR/terminate         the work is over: workers leave, and a scheduler without a command ends
"""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from teralign.cluster.network import LOOPBACK
from teralign.errors import InputError
from teralign.files import write_atomically

if TYPE_CHECKING:
    from distributed.security import Security

SCHEDULER_FILE = "scheduler.json"
CREDENTIALS_FILE = "credentials.pem"
TERMINATE_FILE = "terminate"

POLL_SECONDS = 0.5
"""The time between two looks at the directory."""

_ANSWER_SECONDS = 3.0


@dataclass(frozen=True)
class SchedulerInfo:
    """A scheduler: its address, its unique id, its process, and the file of its credentials, "" if none is known."""

    address: str
    id: str = ""
    pid: int = 0
    host: str = ""
    credentials: str = ""

    def is_local(self) -> bool:
        """Return whether the scheduler listens on its machine only."""
        return f"://{LOOPBACK}:" in self.address

    def security(self) -> Security:
        """Return Dask's settings for connections to the scheduler: of its credentials, or else of the user's Dask."""
        from distributed.security import Security

        from teralign.cluster.credentials import security_by

        return security_by(self.credentials) if self.credentials else Security()


def publish(directory: Path, info: SchedulerInfo) -> Path:
    """Write the scheduler's file, whole or not at all, and return its path."""
    path = directory / SCHEDULER_FILE
    here = replace(info, credentials=CREDENTIALS_FILE)  # its name only: folders may be mounted elsewhere
    write_atomically(path, json.dumps(asdict(here), indent=1).encode(), private=True)
    return path


def read(directory: Path) -> SchedulerInfo | None:
    """Return the scheduler of a directory, or None."""
    return read_file(directory / SCHEDULER_FILE)


def read_file(path: Path) -> SchedulerInfo | None:
    """Return the scheduler that a file names, or None; Dask's own scheduler files are read too."""
    try:
        found = json.loads(path.read_bytes())
        credentials = found.get("credentials", "")
        return SchedulerInfo(
            str(found["address"]),
            str(found.get("id", "")),
            int(found.get("pid", 0)),
            str(found.get("host", "")),
            str(path.parent / credentials) if credentials else "",
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def withdraw(directory: Path) -> None:
    """Remove the scheduler's files, so that no worker joins any more."""
    (directory / SCHEDULER_FILE).unlink(missing_ok=True)
    (directory / CREDENTIALS_FILE).unlink(missing_ok=True)


def leave(directory: Path, scheduler_id: str, *, over: bool) -> None:
    """Remove the files of a scheduler, and mark the work as over where it is.

    Does nothing where the directory is another scheduler's by now, of a run that took over before this one ended.
    """
    found = read(directory)
    if found is None or found.id != scheduler_id:
        return
    if over:
        end(directory)
    withdraw(directory)


def end(directory: Path) -> None:
    """Mark the work as over."""
    write_atomically(directory / TERMINATE_FILE, b"")


def is_over(directory: Path) -> bool:
    """Return whether the work is over."""
    return (directory / TERMINATE_FILE).exists()


def prepare(directory: Path, credentials: str) -> Path:
    """Make the directory ready for a new scheduler, closed to other users, and return the file of its credentials.

    Files of an earlier scheduler are removed. Raises InputError when the directory belongs to another user, who could
    replace the files by those of another scheduler, to which our workers would then listen.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    check_owner(directory)
    directory.chmod(0o700)
    withdraw(directory)
    (directory / TERMINATE_FILE).unlink(missing_ok=True)
    path = directory / CREDENTIALS_FILE
    write_atomically(path, credentials.encode(), private=True)
    return path


def check_owner(directory: Path) -> None:
    """Raise InputError when the directory belongs to another user; what root makes is accepted, and root may all."""
    if not directory.exists() or os.geteuid() == 0:
        return
    owner = directory.stat().st_uid
    if owner not in (os.geteuid(), 0):
        raise InputError(f"{directory} belongs to another user (number {owner}): choose another --dir.")


async def answers(scheduler: SchedulerInfo) -> bool:
    """Return whether a scheduler answers, and lets us in.

    If its id is known, the answer must come from that scheduler, not from a later one at the same port.
    """
    from distributed.core import rpc  # takes a while, and commands import this module before they need it

    try:
        access = scheduler.security().get_connection_args("client")
        async with rpc(scheduler.address, timeout=_ANSWER_SECONDS, connection_args=access) as peer:
            identity = await asyncio.wait_for(peer.identity(), _ANSWER_SECONDS)
    except (OSError, TimeoutError, ValueError):
        return False
    except (RuntimeError, TypeError):  # Dask's words for TLS that is required, or has no certificates
        return False
    return scheduler.id in ("", identity.get("id"))
