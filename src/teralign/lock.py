"""A lock file that says who is at work in a directory, on one host or several.

The file is made by whoever comes first, which file systems, NFS too, let only one do. It names the holder's host and
process, and the holder touches it every few seconds. A lock is stale when its process is gone from this host, or,
where that cannot be seen from here, when nobody touches it any more.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import threading
import time
import uuid
from pathlib import Path
from typing import Any

import psutil

from teralign.errors import InputError

log = logging.getLogger(__name__)

_TOUCH_SECONDS = 3.0
_STALE_SECONDS = 15.0
_CLOCK_SECONDS = 5.0  # by how much a clock that is set right moves the start of a process


class Lock:
    """The lock at `path`, held by this process until `release`; a thread keeps it fresh."""

    def __init__(self, path: Path, holder: dict[str, Any]) -> None:
        self._path, self._holder = path, holder
        self._released = threading.Event()
        self._thread = threading.Thread(target=self._keep_fresh, name=f"lock {path}", daemon=True)
        self._thread.start()

    @classmethod
    def take(cls, path: Path) -> Lock:
        """Take the lock, also from a holder that is gone; InputError when the holder is at work."""
        holder = {**_this_process(), "token": uuid.uuid4().hex}
        while not _create(path, holder):
            found = _read(path)
            if found is not None and not _is_gone(path, found):
                found = _read(path) or found  # it may have been about to write its name
                raise InputError(
                    f"{path.parent} is in use by process {found.get('pid')} on {found.get('host')}; wait until that "
                    "has ended, or give another --work-dir."
                )
            if found is not None:
                log.info("Taking over %s from a process that is gone", path.parent)
                _take_away(path, found)
        return cls(path, holder)

    def release(self) -> None:
        """Let go; a lock that someone else has taken over meanwhile stays."""
        self._released.set()
        self._thread.join()
        if _read(self._path) == self._holder:
            self._path.unlink(missing_ok=True)

    def _keep_fresh(self) -> None:
        while not self._released.wait(_TOUCH_SECONDS):
            with contextlib.suppress(OSError):
                os.utime(self._path)


def _create(path: Path, holder: dict[str, Any]) -> bool:
    """Make the file, unless it exists."""
    try:
        with path.open("x") as file:
            json.dump(holder, file)
    except FileExistsError:
        return False
    return True


def _read(path: Path) -> dict[str, Any] | None:
    """Who holds the lock; None when nobody does, {} when the file does not say (yet)."""
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _is_gone(path: Path, holder: dict[str, Any]) -> bool:
    """Whether the holder has ended; takes some seconds where its process cannot be looked up from here."""
    here = _this_process()
    if all(holder.get(k) == here[k] for k in ("host", "boot", "namespace")):
        return not _is_running(holder.get("pid"), holder.get("started"))
    log.info("Waiting for a sign of life of process %s on %s", holder.get("pid"), holder.get("host"))
    before = _touched(path)
    end = time.monotonic() + _STALE_SECONDS
    while time.monotonic() < end:
        time.sleep(_TOUCH_SECONDS / 4)
        now = _touched(path)
        if now != before:
            return now is None
    return True


def _touched(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return None


def _take_away(path: Path, holder: dict[str, Any]) -> None:
    """Remove the lock of `holder`, but not that of someone who was quicker.

    Only who has made the file `path`.takeover removes a lock, after another look at it, so nobody removes a new one.
    """
    takeover = path.with_name(f"{path.name}.takeover")
    if _create(takeover, _this_process()):
        try:
            if _read(path) == holder:
                path.unlink(missing_ok=True)
        finally:
            takeover.unlink(missing_ok=True)
        return
    end = time.monotonic() + _STALE_SECONDS
    while takeover.exists():
        time.sleep(_TOUCH_SECONDS / 30)
        if time.monotonic() > end:  # a moment's work for whoever made it, so that one is gone
            takeover.unlink(missing_ok=True)


def _this_process() -> dict[str, Any]:
    """What tells this process from all others, on this host and elsewhere, in containers too."""
    pid = os.getpid()
    return {
        "host": socket.gethostname(),
        "boot": _link_or_line("/proc/sys/kernel/random/boot_id"),
        "namespace": _link_or_line("/proc/self/ns/pid"),
        "pid": pid,
        "started": psutil.Process(pid).create_time(),
    }


def _link_or_line(path: str) -> str:
    """What one of the kernel's files says; nothing where there is none, as outside Linux."""
    try:
        return os.readlink(path) if os.path.islink(path) else Path(path).read_text().strip()  # noqa: PTH114, PTH115
    except OSError:
        return ""


def _is_running(pid: object, started: object) -> bool:
    """Whether the process is there and is not another one that was given the same number."""
    if not isinstance(pid, int) or not isinstance(started, float):
        return False
    try:
        process = psutil.Process(pid)
        drift = abs(process.create_time() - started)
        return bool(drift < _CLOCK_SECONDS and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
