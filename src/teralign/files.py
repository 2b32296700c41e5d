"""Files and folders written whole or not at all.

Each is made under a temporary name beside its final name, flushed to disk and renamed, so that any reader finds the
old file or the new file, even after a power cut.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import io
import logging
import os
import shutil
import socket
import uuid
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from teralign.errors import InputError

log = logging.getLogger(__name__)

_HERE = -100  # AT_FDCWD: paths count from the working directory
_EXCHANGE = 2  # RENAME_EXCHANGE
_UNIX = 3  # as zipfile numbers the systems that write archives
_READABLE = 0o600

UNFINISHED = ".tmp"
"""The ending of temporary names."""


def write_atomically(path: Path, content: bytes, *, private: bool = False) -> None:
    """Write a file of this content, whole or not at all; only its owner can read a `private` one, at any time."""
    with writing(path, mode=0o600 if private else 0o666) as file:
        file.write(content)


@contextlib.contextmanager
def writing(path: Path, *, mode: int = 0o666) -> Iterator[IO[bytes]]:
    """Open a binary file that becomes `path` when the block succeeds and is removed when it fails.

    It is made with the permissions of `mode` that the umask leaves.
    """
    with _temporary(path) as temporary:
        # by an opener, so that the file has a name, which tifffile reads
        with open(temporary, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)


@contextlib.contextmanager
def writing_by_name(path: Path) -> Iterator[Path]:
    """Give a temporary path with the name of `path`, for libraries that choose the format by the name.

    The file written there becomes `path` when the block succeeds and is removed when it fails.
    """
    with _temporary(path) as folder:
        folder.mkdir()
        yield folder / path.name
        (folder / path.name).replace(path)


@contextlib.contextmanager
def writing_folder(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Give a temporary name for a folder, which becomes `path` when the block succeeds and is removed when it fails.

    Raises InputError when `path` exists and `overwrite` is off; with it, the old folder is removed at the very end.
    """
    if path.exists() and not overwrite:
        raise InputError(f"{path} exists already; choose another name, or add --overwrite.")
    with _temporary(path) as temporary:
        yield temporary
        put_in_place(temporary, path)


def put_in_place(built: Path, path: Path) -> None:
    """Rename a finished file or folder to `path`; an old file or folder there is removed once the new is in place.

    Where the file system can exchange the two, the old or the new one is there at any time. Elsewhere (NFS) a process
    that ends between two renames leaves the old one beside `path`, under a temporary name.
    """
    if path.exists() and _exchange(built, path):
        _flush_folder(path.parent)
        remove(built)
        return
    old = temporary_name(path)
    if path.exists():
        path.rename(old)
    built.rename(path)
    _flush_folder(path.parent)
    remove(old)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two files or folders in one step, and return whether the system and the file system can."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)  # of Linux, in glibc and musl
    if rename is None:
        return False
    if rename(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
        return False
    raise OSError(number, os.strerror(number), str(other))


def on_file_system_of(path: Path, built: Path) -> Path:
    """Return `built`, or, if `path` is on another file system, a copy beside `path`, which can be renamed."""
    if built.stat().st_dev == path.parent.stat().st_dev:
        return built
    log.info("Copying the output to the file system of %s", path)
    copy = temporary_name(path)
    try:
        if built.is_dir():
            shutil.copytree(built, copy)
        else:
            shutil.copy2(built, copy)
    except OSError:
        remove(copy)
        raise
    return copy


def refuse_device(path: Path) -> None:
    """Raise InputError for a device, whose content may have no end, in the place of a file."""
    if path.is_char_device() or path.is_block_device():
        raise InputError(f"{path} is a device; choose a file.")


def remove(path: Path) -> None:
    """Remove a file, a link or a whole folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def temporary_name(path: Path) -> Path:
    """Return a name beside `path` that no other process on any host uses."""
    return path.with_name(f".{path.name}.{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}{UNFINISHED}")


def write_arrays(file: IO[bytes], arrays: Mapping[str, NDArray[np.generic]]) -> None:
    """Write arrays by name as an .npz file whose bytes depend on the arrays alone.

    `numpy.savez` asks zipfile for 64-bit sizes, which patch releases of Python write differently.
    """
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, array, allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy")  # of 1980
            entry.create_system = _UNIX
            entry.external_attr = _READABLE << 16
            archive.writestr(entry, content.getvalue())


def file_store(folder: Path) -> dict[str, str]:
    """Return the folder as a key-value store of tensorstore, which refuses paths with `..`."""
    return {"driver": "file", "path": f"{folder.resolve()}{os.sep}"}


@contextlib.contextmanager
def _temporary(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path`, whose folders are made, and remove what is left there afterwards."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(path)
    try:
        yield temporary
    finally:
        remove(temporary)


def _flush_folder(folder: Path) -> None:
    """Flush renames in a folder to disk; some network file systems cannot, and do so anyway."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
