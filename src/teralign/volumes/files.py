"""Metadata files: JSON read and written with errors for users."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TypeVar

from teralign.addresses import Place
from teralign.errors import DataError, InputError
from teralign.files import write_atomically
from teralign.volumes.json_values import Metadata

DEEPEST_GROUP = 6
"""The depth to which groups are searched for datasets: plates and BigDataViewer go no deeper."""

LARGEST_METADATA = 64 << 20
"""Bytes of a file of metadata: that of a thousand wells, with copies of all inside, takes a tenth."""

_P = TypeVar("_P", bound=Place)


@contextmanager
def opening(path: Place) -> Iterator[None]:
    """Turn errors of the system while a volume is opened into an InputError."""
    try:
        yield
    except PermissionError as error:
        raise InputError(f"{error.filename or path} may not be read; ask for the permission.") from error
    except FileNotFoundError as error:
        raise InputError(f"there is no {path}; check the path.") from error
    except OSError as error:
        raise InputError(f"{path} cannot be opened: {error.strerror or error}.") from error


def read_json(path: Place) -> Metadata:
    """The object in a JSON file, {} when there is no such file. Raises InputError when it cannot be read."""
    with opening(path):
        try:
            content = json.loads(read_metadata(path))
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except InputError:  # a ValueError too
            raise
        except ValueError as error:
            raise InputError(f"{path} is not valid JSON ({error}); repair the metadata.") from error
        except RecursionError as error:
            raise InputError(f"{path} is nested too deeply to be metadata; repair or replace it.") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} does not hold a JSON object; repair the metadata.")
    return content


def read_metadata(path: Place) -> bytes:
    """Return the content of a file of metadata. Raises OSError where it cannot be read.

    A pipe or a device, which may have no end, and a file that is far too large are an InputError.
    """
    if not isinstance(path, Path):
        return path.read_bytes()
    with open_regular(path) as file:
        content = file.read(LARGEST_METADATA + 1)
    if len(content) > LARGEST_METADATA:
        raise InputError(f"{path} has more than {LARGEST_METADATA >> 20} MB of metadata; repair or replace it.")
    return content


def open_regular(path: Path) -> IO[bytes]:
    """Open a file to read. Raises OSError, and InputError for a pipe or a device, which may have no end."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe without a writer would block
    file = open(descriptor, "rb")  # noqa: PTH123, SIM115 - of a descriptor
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        file.close()
        raise InputError(f"{path} is no regular file; repair or replace it.")
    return file


def write_json(path: Path, content: Metadata) -> None:
    """Write a JSON file whole or not at all, with its folders. Raises DataError when the disk refuses."""
    try:
        write_atomically(path, json.dumps(content, indent=2).encode())
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror or error}.") from error


def folders_around(path: _P, container: _P) -> list[_P]:
    """Return a dataset's folder and the folders around it, out to its container."""
    return [path, *(folder for folder in path.parents if folder.is_relative_to(container))]


def subfolders(folder: Path) -> list[Path]:
    """The folders in a folder, by name. Raises InputError when it may not be read."""
    with opening(folder):
        return sorted(entry for entry in folder.iterdir() if entry.is_dir())
