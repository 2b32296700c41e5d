"""Outputs that are one file: a header, then all voxels, uncompressed and in one order.

They cannot be written by independent tasks. So the voxels go into a volume first, whose writer is given here, and
from there into the file, in pieces of whole chunks: no chunk is read twice, and memory is bounded.
"""

from __future__ import annotations

import importlib
import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol, cast

import numpy as np

from teralign.addresses import Address
from teralign.errors import DataError
from teralign.files import writing
from teralign.grids import Region, Triple
from teralign.progress import Progress
from teralign.volumes.description import PyramidLayout, Voxels
from teralign.volumes.outputs import ONE_FILE
from teralign.volumes.uri import form_by_name
from teralign.volumes.writer import VolumeWriter

log = logging.getLogger(__name__)

PIECE_BYTES = 64 << 20
"""The size of a piece that is read and written: large for the disk, small beside the memory of a worker."""


@dataclass(frozen=True)
class FlatVoxels:
    """The layout of voxels in a file: little-endian from byte `offset` on; `axes` and `sizes` are slowest first."""

    offset: int
    axes: str
    sizes: tuple[int, ...]

    def byte(self, index: dict[str, int], itemsize: int) -> int:
        """Return the byte at which a voxel begins, by its index along each axis (0 along axes that are not named)."""
        place = 0
        for axis, size in zip(self.axes, self.sizes, strict=True):
            place = place * size + index.get(axis, 0)
        return self.offset + place * itemsize


class FileFormat(Protocol):
    """A format of one file: a module of this package."""

    def begin(self, file: IO[bytes], layout: PyramidLayout, name: str) -> FlatVoxels:
        """Write all of a file but its voxels, which may come in any order; `name` is the file's own."""
        ...


def is_one_file(container: Path | Address) -> bool:
    """Return whether a container to write is one file, and not a folder."""
    return form_by_name(container.name) in ONE_FILE


def pieces(layout: PyramidLayout, piece_bytes: int = PIECE_BYTES) -> Iterator[Region]:
    """Return the pieces in which the voxels of a channel at a timepoint are written to a file, in order."""
    return layout.levels[0].region.split(_piece_shape(layout, piece_bytes))


def write_file(path: Path, writer: VolumeWriter, layout: PyramidLayout, *, piece_bytes: int = PIECE_BYTES) -> None:
    """Write a volume into a file, which appears when it is whole; about `piece_bytes` are in memory.

    Raises DataError when the disk refuses.
    """
    images = [(t, c) for t in range(layout.timepoints) for c in range(layout.channels)]
    progress = Progress(len(images) * sum(1 for _ in pieces(layout, piece_bytes)), f"writing {path.name}", log)
    try:
        with writing(path) as file:
            voxels = _format(path.name).begin(file, layout, path.name)
            for timepoint, channel in images:
                for piece in pieces(layout, piece_bytes):
                    array = writer.read(piece, channel=channel, timepoint=timepoint)
                    _write_piece(file, voxels, piece, array, {"t": timepoint, "c": channel})
                    progress.advance()
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror or error}.") from error


def _write_piece(file: IO[bytes], voxels: FlatVoxels, piece: Region, array: Voxels, image: dict[str, int]) -> None:
    """Write (z, y, x) voxels: planes where the rows are whole, else row by row."""
    stored = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    whole = piece.shape[2] == voxels.sizes[-1]
    first_z, first_y, first_x = piece.start
    for z, plane in enumerate(stored, first_z):
        for y, rows in [(first_y, plane)] if whole else enumerate(plane, first_y):
            file.seek(voxels.byte({**image, "z": z, "y": y, "x": first_x}, stored.itemsize))
            file.write(memoryview(rows).cast("B"))


def _piece_shape(layout: PyramidLayout, piece_bytes: int) -> Triple:
    """Return the shape of a row of chunks, or of as much of it as may be in memory."""
    z, y, x = layout.write_shape
    chunks = max(1, piece_bytes // (math.prod(layout.write_shape) * layout.dtype.itemsize))
    return z, y, x * chunks


def _format(name: str) -> FileFormat:
    """The module of a file's format, imported when first met."""
    return cast("FileFormat", importlib.import_module(f"teralign.volumes.{ONE_FILE[form_by_name(name)]}"))
