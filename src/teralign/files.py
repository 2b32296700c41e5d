"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import os
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import IO

UNFINISHED = ".tmp"
"""How the names of files in the making end."""


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that anyone finds it whole, old or new, even after a power cut."""
    with writing(path) as file:
        file.write(content)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[IO[bytes]]:
    """A binary file that becomes `path` when the block ends well, and leaves no trace when it does not."""
    temporary = temporary_name(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def temporary_name(path: Path) -> Path:
    """A name beside `path` that no other process on any host uses."""
    return path.with_name(f".{path.name}.{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}{UNFINISHED}")


def file_store(folder: Path) -> dict[str, str]:
    """The key-value store of tensorstore that is this folder; the path is resolved because it refuses `..`."""
    return {"driver": "file", "path": f"{folder.resolve()}{os.sep}"}
