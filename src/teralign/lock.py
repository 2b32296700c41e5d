"""A lock file that names the process that uses a directory, on one host or several.

The first process creates the file; file systems, including NFS, let only one process do so. The file names the
holder's host and process, and the holder touches it every few seconds. A lock is stale when its process has ended
or, where this host cannot see the process, when the file is no longer touched.
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
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from teralign.errors import InputError

log = logging.getLogger(__name__)

PATIENCE_VARIABLE = "TERALIGN_LOCK_SECONDS"
"""The environment variable that holds the seconds to wait for a holder: an earlier run that may be ending."""

_WAIT_SECONDS = 60.0  # for others to rename a folder, or to link the files of one image
_CLOCK_SECONDS = 5.0  # setting the clock shifts the apparent start of a process by up to this


@dataclass(frozen=True)
class Holder:
    """The process that holds a lock: its host, boot, process namespace, number and start; `token` is unique."""

    host: str = ""
    boot: str = ""
    namespace: str = ""
    pid: int = 0
    started: float = 0.0
    token: str = ""

    @classmethod
    def this_process(cls, token: str = "") -> Holder:
        """Return the holder that identifies this process on this host and elsewhere, also in containers."""
        return cls(
            host=socket.gethostname(),
            boot=_link_or_line("/proc/sys/kernel/random/boot_id"),
            namespace=_link_or_line("/proc/self/ns/pid"),
            pid=os.getpid(),
            started=psutil.Process().create_time(),
            token=token,
        )

    @classmethod
    def parse(cls, text: bytes) -> Holder:
        """Return the holder in the text of a lock file; one without a name if the file does not hold one (yet)."""
        try:
            found = json.loads(text)
            host, boot, namespace, token = (str(found[key]) for key in ("host", "boot", "namespace", "token"))
            return cls(host, boot, namespace, int(found["pid"]), float(found["started"]), token)
        except (ValueError, KeyError, TypeError):
            return cls()

    def runs_here(self) -> bool | None:
        """Return whether the process runs, and is not a later one with its number; None on another host."""
        here = Holder.this_process()
        if (self.host, self.boot, self.namespace) != (here.host, here.boot, here.namespace):
            return None
        try:
            process = psutil.Process(self.pid)
            drift = abs(process.create_time() - self.started)
            return bool(drift < _CLOCK_SECONDS and process.status() != psutil.STATUS_ZOMBIE)
        except psutil.NoSuchProcess:
            return False


@dataclass(frozen=True)
class LockTimes:
    """The seconds between two touches by the holder, and those without a touch after which a lock is stale.

    A holder may miss some touches, since the clocks and caches of a network file system lag.
    """

    touch: float = 3.0
    stale: float = 15.0


class Lock:
    """The lock at `path`, held by this process until `release`; a thread keeps it fresh."""

    def __init__(self, path: Path, holder: Holder, times: LockTimes) -> None:
        self._path, self._holder, self._times = path, holder, times
        self._released = threading.Event()
        self._thread = threading.Thread(target=self._keep_fresh, name=f"lock {path}", daemon=True)
        self._thread.start()

    @classmethod
    def take(cls, path: Path, times: LockTimes = LockTimes()) -> Lock:
        """Take the lock, also from a holder that has ended. Raises InputError when the holder still runs."""
        holder = Holder.this_process(uuid.uuid4().hex)
        while not _create(path, holder):
            found = _read(path)
            if found is not None and not _is_gone(path, found, times):
                found = _read(path) or found  # the holder may have been about to write its name
                raise InputError(
                    f"{path.parent} is in use by process {found.pid} on {found.host}; wait until that "
                    "has ended, or give another --work-dir."
                )
            if found is not None:
                log.info("Taking over %s from a process that has ended", path.parent)
                _take_away(path, found, times)
        return cls(path, holder, times)

    @classmethod
    def take_patiently(cls, path: Path) -> Lock:
        """Take the lock as `take` does, after waiting for the seconds that the environment gives, if any."""
        seconds = float(os.environ.get(PATIENCE_VARIABLE, 0))
        return cls.wait(path, seconds=seconds) if seconds else cls.take(path)

    @classmethod
    def wait(cls, path: Path, *, seconds: float = _WAIT_SECONDS) -> Lock:
        """Take the lock as `take` does, after waiting for a holder that needs it only for a moment.

        Raises InputError when the holder keeps it for `seconds`.
        """
        end = time.monotonic() + seconds
        while True:
            try:
                return cls.take(path)
            except InputError as error:
                if time.monotonic() > end:
                    held = f"{path.parent} has been in use by another process for {seconds:.0f} s"
                    raise InputError(f"{held}; run this again when that has ended.") from error
            time.sleep(_WAIT_SECONDS / 1000)

    def __enter__(self) -> Lock:
        return self

    def __exit__(self, *exception: object) -> None:
        self.release()

    def release(self) -> None:
        """Release the lock; a lock that another process has taken over meanwhile stays."""
        self._released.set()
        self._thread.join()
        if _read(self._path) == self._holder:
            self._path.unlink(missing_ok=True)

    def _keep_fresh(self) -> None:
        while not self._released.wait(self._times.touch):
            with contextlib.suppress(OSError):
                os.utime(self._path)


def _create(path: Path, holder: Holder) -> bool:
    """Create the file; return False if it exists."""
    try:
        with path.open("x") as file:
            json.dump(asdict(holder), file)
    except FileExistsError:
        return False
    return True


def _read(path: Path) -> Holder | None:
    """Return the holder of the lock; None without a lock."""
    try:
        return Holder.parse(path.read_bytes())
    except FileNotFoundError:
        return None


def _is_gone(path: Path, holder: Holder, times: LockTimes) -> bool:
    """Return whether the holder has ended; takes some seconds where this host cannot see its process."""
    runs = holder.runs_here()
    if runs is not None:
        return not runs
    log.info("Waiting for a sign of life of process %s on %s", holder.pid, holder.host)
    before = _touched(path)
    end = time.monotonic() + times.stale
    while time.monotonic() < end:
        time.sleep(times.touch / 4)
        now = _touched(path)
        if now != before:
            return now is None
    return True


def _touched(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return None


def _take_away(path: Path, holder: Holder, times: LockTimes) -> None:
    """Remove the lock of `holder`, but not a new lock of a faster process.

    Only the process that created the file `path`.takeover removes a lock, after reading it again.
    """
    takeover = path.with_name(f"{path.name}.takeover")
    if _create(takeover, Holder.this_process()):
        try:
            if _read(path) == holder:
                path.unlink(missing_ok=True)
        finally:
            takeover.unlink(missing_ok=True)
        return
    end = time.monotonic() + times.stale
    while takeover.exists():
        time.sleep(times.touch / 30)
        if time.monotonic() > end:  # a takeover lasts a moment, so its process has ended
            takeover.unlink(missing_ok=True)


def _link_or_line(path: str) -> str:
    """Return the content of one of the kernel's files; empty where there is none, as outside Linux."""
    try:
        return os.readlink(path) if os.path.islink(path) else Path(path).read_text().strip()  # noqa: PTH114, PTH115
    except OSError:
        return ""
