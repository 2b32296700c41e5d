"""The state of the files of a volume, in seconds: what a rerun compares to notice that an input has changed.

A digest of all voxels of a terabyte would take longer than its alignment. The state covers instead

- on a disk: name, size and time of last change of files and folders, up to 20 000 of them. Folders of chunks come
  first: most writers replace a chunk by renaming, which changes the time of its folder. Of more files some are looked
  at, evenly spread.
- on a disk: the content of 64 files, the first, the last and others evenly between them; of a large file, pieces. So
  a change that keeps size and time is noticed too in volumes of up to 64 chunks of a megabyte.
- at an address: the version (ETag) of up to 512 chunks, evenly spread over the array, since nothing is listed there.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import stat
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from teralign.addresses import REFUSED, Address, Place
from teralign.volumes.chunk_files import ChunkFiles
from teralign.volumes.files import opening

_ENTRIES = 20_000  # at 0.3 ms for each on a shared file system, 6 s
_CONTENTS = 64
_WHOLE = 1 << 20  # bytes: larger files are read in pieces
_PIECES, _PIECE = 16, 1 << 16
_VERSIONS = 512
T = TypeVar("T")


def files_state(files: Sequence[Place]) -> bytes:
    """Return a digest of files: of each its name, size and time, and of 64 of them the content, of large ones pieces.

    Of addresses: names and content. A file that does not exist counts as that. Raises InputError when one cannot be
    read.
    """
    digest = hashlib.blake2b(digest_size=16)
    there: list[tuple[Path, int]] = []
    for file in files:
        with opening(file), contextlib.suppress(FileNotFoundError, NotADirectoryError):
            if isinstance(file, Path):
                status = file.stat()
                digest.update(f"{file.name} {status.st_size} {status.st_mtime_ns}\n".encode())
                if stat.S_ISREG(status.st_mode):  # not a pipe, which may have no end
                    there.append((file, status.st_size))
            else:
                digest.update(file.name.encode() + file.read_bytes())
    for path, size in spread(there, _CONTENTS):
        with opening(path):
            digest.update(_content(path, size))
    return digest.digest()


def folder_state(folder: Path) -> bytes:
    """Return a digest of the files below a folder, as this module says; empty if there is no folder.

    Raises InputError when it cannot be read.
    """
    digest = hashlib.blake2b(digest_size=16)
    files: list[tuple[Path, int]] = []
    with opening(folder):
        for entry in _entries(folder) if folder.is_dir() else ():
            status = _status(entry)
            size = status.st_size if stat.S_ISREG(status.st_mode) else 0
            digest.update(f"{os.path.relpath(entry.path, folder)} {size} {status.st_mtime_ns}\n".encode())
            if stat.S_ISREG(status.st_mode):  # not a pipe, which may have no end
                files.append((Path(entry.path), size))
        for path, size in spread(files, _CONTENTS):
            digest.update(_content(path, size))
    return digest.digest()


def chunk_versions(files: ChunkFiles) -> bytes:
    """Return a digest of the versions of chunks at an address, as this module says.

    Raises InputError when the server cannot be asked.
    """
    place = files.path
    assert isinstance(place, Address)
    digest = hashlib.blake2b(digest_size=16)
    total = min(math.prod(files.counts), sys.maxsize)
    with opening(place):
        try:
            store = place.open()
            asked = []
            for number in spread(range(total), _VERSIONS):
                index = tuple(int(i) for i in np.unravel_index(number, files.counts))
                key = files.file(index).relative_to(place).as_posix()
                asked.append((key, store.read(key, byte_range=slice(0, 1))))
            for key, answer in asked:
                found = answer.result()
                digest.update(f"{key} {found.state} ".encode() + bytes(found.stamp.generation))
        except REFUSED as error:
            raise OSError(str(error)) from error
    return digest.digest()


def spread(items: Sequence[T], count: int) -> list[T]:
    """Return at most `count` of the items, with the first and the last, evenly spread."""
    if len(items) <= count:
        return list(items)
    return [items[i] for i in sorted(set(np.linspace(0, len(items) - 1, count).round().astype(int).tolist()))]


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Yield files and folders below a folder, level by level, at most `_ENTRIES` of them."""
    left = _ENTRIES
    waiting = deque([str(folder)])
    while waiting and left > 0:
        with os.scandir(waiting.popleft()) as listing:
            found = sorted(listing, key=lambda entry: entry.name)
        for entry in spread(found, left):
            left -= 1
            yield entry
        waiting.extend(entry.path for entry in found if entry.is_dir(follow_symlinks=False))


def _status(entry: os.DirEntry[str]) -> os.stat_result:
    """Return the status of an entry of a folder, of a link that leads nowhere its own."""
    try:
        return entry.stat()
    except FileNotFoundError:
        return entry.stat(follow_symlinks=False)


def _content(path: Path, size: int) -> bytes:
    """Return the content of a file, of a large one pieces that are evenly spread."""
    if size <= _WHOLE:
        return path.read_bytes()
    with path.open("rb") as file:
        pieces = []
        for start in spread(range(size - _PIECE + 1), _PIECES):
            file.seek(start)
            pieces.append(file.read(_PIECE))
    return b"".join(pieces)
