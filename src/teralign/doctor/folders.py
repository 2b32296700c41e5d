"""The folder of results and the temporary folder: room, permission, locks, the clock, and whether others see them."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from teralign.cluster.machine import GB
from teralign.doctor.observation import Observation, Standing

_LEAST_FREE = 10 * GB
_LEAST_FREE_TEMPORARY = 2 * GB
_CLOCK_SKEW = 5.0
_NETWORK_FILE_SYSTEMS = {
    "nfs",
    "nfs4",
    "lustre",
    "gpfs",
    "beegfs",
    "ceph",
    "cifs",
    "smb3",
    "glusterfs",
    "wekafs",
    "pvfs2",
    "afs",
}
"""Types of file systems that several machines see."""


def folder_checks(folder: Path) -> Iterator[Observation]:
    """Yield the checks of `folder`, where results would go, and of the temporary folder."""
    yield _writable("results", folder)
    yield _free("disk", folder, _LEAST_FREE, "a warped volume takes as much as the moving one.")
    yield _seen_by_others(folder)
    temporary = Path(tempfile.gettempdir())
    yield _writable("temporary files", temporary)
    yield _free("temporary disk", temporary, _LEAST_FREE_TEMPORARY, "or set TMPDIR to a folder with more room.")
    yield _temporary_place(temporary)


def _writable(name: str, folder: Path) -> Observation:
    """Write a file, lock it, and compare its time with the clock of this machine."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            now = time.time()
            file.write(b"teralign")
            file.flush()
            skew = os.fstat(file.fileno()).st_mtime - now
            lockable = _can_lock(file.fileno())
    except OSError as error:
        advice = (
            "choose a folder that you may write to."
            if name == "results"
            else "set TMPDIR to one that you may write to."
        )
        return Observation(
            name, Standing.MISSING, f"{folder.absolute()} cannot be written: {error.strerror}", advice=advice
        )
    if not lockable:
        advice = "start Nextflow in a folder that has them: it locks .nextflow there."
        return Observation(name, Standing.NOTE, f"{folder.absolute()} has no file locks", advice=advice)
    if abs(skew) > _CLOCK_SKEW:
        advice = "set the clocks of this machine and of the file server by NTP: -resume compares times."
        return Observation(
            name, Standing.NOTE, f"the clock of {folder.absolute()} differs by {skew:+.0f} s", advice=advice
        )
    return Observation(name, Standing.OK, f"{folder.absolute()} can be written and locked, and its clock agrees")


def _can_lock(descriptor: int) -> bool:
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _free(name: str, folder: Path, least: int, advice: str) -> Observation:
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return Observation(name, Standing.NOTE, f"{folder.absolute()} cannot be looked up: {error.strerror}")
    found = f"{free / GB:.0f} GB free in {folder.absolute()}"
    if free < least:
        return Observation(
            name, Standing.NOTE, found, advice=f"make room: {advice}" if name == "disk" else f"make room, {advice}"
        )
    return Observation(name, Standing.OK, found)


def _seen_by_others(folder: Path) -> Observation:
    kind = file_system(folder)
    purpose = "workers on other machines need a work directory that all of them see"
    if kind in _NETWORK_FILE_SYSTEMS:
        return Observation("shared folder", Standing.OK, f"{folder.absolute()} is on {kind}", purpose)
    advice = "on a cluster, run from a shared folder or give Nextflow one: -work-dir /shared/me/work."
    return Observation(
        "shared folder", Standing.ABSENT, f"{folder.absolute()} is on {kind}, a disk of this machine", purpose, advice
    )


def _temporary_place(folder: Path) -> Observation:
    kind = file_system(folder)
    if kind in _NETWORK_FILE_SYSTEMS:
        advice = "set TMPDIR to a disk of this machine, which is faster."
        return Observation(
            "temporary place", Standing.NOTE, f"{folder} is on {kind}, over the network", advice=advice
        )
    if kind in ("tmpfs", "ramfs"):
        advice = "set TMPDIR to a disk: what lies there takes memory from the workers."
        return Observation("temporary place", Standing.NOTE, f"{folder} is in memory ({kind})", advice=advice)
    return Observation("temporary place", Standing.OK, f"{folder} is on {kind}, a disk of this machine")


def file_system(folder: Path, mounts: Path = Path("/proc/self/mounts")) -> str:
    """Return the kernel's name of the type of file system that holds `folder`, or "unknown"."""
    path = folder.resolve()
    best, kind = -1, "unknown"
    try:
        lines = mounts.read_text().splitlines()
    except OSError:
        return kind
    for line in lines:
        fields = line.split()
        point = Path(fields[1].encode().decode("unicode_escape"))
        if (path == point or point in path.parents) and len(point.parts) >= best:
            best, kind = len(point.parts), fields[2]
    return kind.removeprefix("fuse.")
