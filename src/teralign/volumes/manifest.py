"""The manifest of an array: its files, their sizes and checksums.

A store leaves out chunks that hold only zeros, so a lost file looks like a chunk that was never stored. The manifest
tells them apart: `manifest.npz` beside the array's metadata, written last, so that an array with a manifest is
whole. It holds `sizes` (int64, 0 for no file) and `crcs` (uint32, CRC-32), each with a place for every file in the
lattice of `ChunkFiles`: 12 bytes a file, 12 MB for a million. It lies inside the array's folder, since zarr-python
warns of unknown files in a group.
"""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from teralign.addresses import Place
from teralign.errors import DataError
from teralign.files import write_arrays, writing
from teralign.volumes.chunk_names import Index

FILE = "manifest.npz"
_BYTES_OF_FILE = 12
_HEADERS = 4096  # bytes


class StoredFile(NamedTuple):
    """A file that was written into a volume: its level, its array, and its place in the lattice."""

    level: int
    array: int
    place: Index
    size: int
    crc: int


@dataclass(frozen=True)
class Manifest:
    """Sizes (bytes) and CRC-32 of the files of one array, by their place in its lattice."""

    sizes: NDArray[np.int64]
    crcs: NDArray[np.uint32]

    @classmethod
    def blank(cls, counts: Index) -> Manifest:
        """Return the manifest of an array without stored files; `counts` is its lattice."""
        return cls(np.zeros(counts, np.int64), np.zeros(counts, np.uint32))

    @classmethod
    def load(cls, folder: Place, counts: Index) -> Manifest | None:
        """Return the manifest of the array in `folder`, with the lattice `counts`; None when there is none.

        Raises DataError when it is damaged, or belongs to another array.
        """
        path = folder / FILE
        try:
            content = io.BytesIO(path.read_bytes())
            _check_size(content, counts)
            with np.load(content) as file:
                found = cls(file["sizes"], file["crcs"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, LookupError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
            raise DataError(f"the manifest {path} is damaged: {error}.") from error
        if found.sizes.shape != counts or found.crcs.shape != counts:
            raise DataError(f"the manifest {path} belongs to another array: it lists {found.sizes.shape} files.")
        return found

    def enter(self, file: StoredFile) -> None:
        """Note that a file is stored."""
        self.sizes[tuple(file.place)], self.crcs[tuple(file.place)] = file.size, file.crc

    def entry(self, index: Index) -> tuple[int, int] | None:
        """Return size and CRC-32 of the file at a place, None if none was stored."""
        size = int(self.sizes[index])
        return (size, int(self.crcs[index])) if size else None

    def save(self, folder: Path) -> None:
        """Write the manifest of the array in `folder`. Raises DataError when the disk refuses."""
        try:
            with writing(folder / FILE) as file:
                write_arrays(file, {"sizes": self.sizes, "crcs": self.crcs})
        except OSError as error:
            raise DataError(f"{folder / FILE} cannot be written: {error.strerror or error}.") from error


def _check_size(content: IO[bytes], counts: Index) -> None:
    """Raise ValueError for an archive that would expand to more than the manifest of a lattice."""
    with zipfile.ZipFile(content) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
    if size > math.prod(counts) * _BYTES_OF_FILE + _HEADERS:
        raise ValueError(f"it holds {size} bytes, more than a manifest of its array")
