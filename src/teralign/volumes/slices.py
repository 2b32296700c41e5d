"""Folders of numbered 2-D slices, TIFF or PNG: each is a plane along z.

A region is read slice by slice, of a TIFF only the tiles that it touches. The voxel size is that of the first slice
if it is an OME-TIFF or written by ImageJ; other slices state none.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import imagecodecs
import numpy as np
import tifffile
import zarr

from teralign.errors import DataError, InputError
from teralign.grids import Region
from teralign.volumes.description import Description, Voxels
from teralign.volumes.slice_names import SliceNames, find_slices
from teralign.volumes.tiff import DAMAGE, Indexable
from teralign.volumes.tiff_metadata import TiffMetadata, read_metadata
from teralign.volumes.tiff_segments import PNG, limit_images
from teralign.volumes.whole_file import check_one_image

_PNG_SAMPLES = {0: 1, 2: 3, 4: 2, 6: 4}  # by the type of colour


@dataclass(frozen=True)
class Plane:
    """The header of a slice: its array's `axes` (y, x and samples s), shape and type, and the tile read at once."""

    axes: str
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    tile: tuple[int, int] = field(compare=False)

    def length(self, axis: str) -> int:
        """Return the array's size along an axis, 1 along an axis that it lacks."""
        return self.shape[self.axes.index(axis)] if axis in self.axes else 1


def describe(container: Path, dataset: str) -> Description:
    """Describe the slices of a folder; colour samples are channels.

    A dataset with a star, such as *CHN00*.tif, is a pattern: the slices are the files with such names, even a single
    one, and the folder may hold others.
    """
    pattern = dataset if "*" in dataset else ""
    check_one_image(container, "" if pattern else dataset)
    names = find_slices(container, pattern)
    first = names.path(0)
    try:
        with _opened(first) as (plane, _):
            metadata = _metadata(first)
    except OSError:
        raise
    except DAMAGE as error:
        raise InputError(f"{first} is not a slice that can be read: {error}.") from error
    y, x = plane.length("y"), plane.length("x")
    return Description(
        pixels=SlicePixels(names, plane),
        shape=(names.count, y, x),
        dtype=plane.dtype,
        chunk_shape=(1, *plane.tile),
        spacing=metadata.spacing,
        spacing_note=metadata.spacing_note,
        channels=plane.length("s"),
        files=(first,),
    )


@dataclass(frozen=True)
class SlicePixels:
    """The voxels of a folder of slices that are all like `plane`."""

    names: SliceNames
    plane: Plane

    @property
    def places(self) -> tuple[Path, ...]:
        """The slices."""
        return tuple(self.names.path(index) for index in range(self.names.count))

    def read(self, region: Region, channel: int, timepoint: int) -> Voxels:
        """Read the (z, y, x) voxels of `region`.

        Raises DataError for a slice that cannot be read, or is of another size or type than the first.
        """
        _, rows, columns = region.slices
        chosen: dict[str, slice | int] = {"y": rows, "x": columns, "s": channel}
        index = tuple(chosen[axis] for axis in self.plane.axes)
        found = np.empty(region.shape, dtype=self.plane.dtype)
        for z, out in zip(range(region.start[0], region.stop[0]), found, strict=True):
            path = self.names.path(z)
            try:
                with _opened(path) as (plane, array):
                    if plane != self.plane:
                        raise ValueError(f"it has {_described(plane)}, the first slice {_described(self.plane)}")
                    out[...] = array[index]
            except DAMAGE as error:
                raise DataError(f"the slice {path} cannot be read: {error}.") from error
        return found


def _described(plane: Plane) -> str:
    return f"{plane.length('x')} x {plane.length('y')} {plane.dtype} pixels"


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Plane, Indexable]]:
    """Open a slice: its header, and its pixels, to be indexed along its axes. Raises one of DAMAGE."""
    if path.suffix.lower() == ".png":
        yield _open_png(path.read_bytes())
    else:
        with tifffile.TiffFile(path) as tiff:
            yield _open_page(path, tiff)


def _open_page(path: Path, tiff: tifffile.TiffFile) -> tuple[Plane, Indexable]:
    page = tiff.pages.first
    axes = page.axes.lower()
    if len(tiff.pages) > 1 or axes not in ("yx", "yxs", "syx"):
        raise ValueError(
            f"it holds {len(tiff.pages)} images with the axes {page.axes}, where a slice is one flat image"
        )
    if page.dtype is None or np.dtype(page.dtype).kind not in "buif":
        raise ValueError(f"it holds {page.dtype} values; only integers, floats and booleans can be read")
    dtype = np.dtype(page.dtype)
    whole = page.is_memmappable
    tile = (page.imagelength, page.imagewidth) if whole else (page.chunks[0], page.chunks[1])
    plane = Plane(axes, page.shape, dtype.newbyteorder("="), tile)
    if not whole:
        limit_images([page])
        return plane, cast(Indexable, zarr.open_array(page.aszarr(), mode="r"))
    stored = dtype.newbyteorder(tiff.byteorder)
    return plane, np.memmap(path, dtype=stored, mode="r", offset=page.dataoffsets[0], shape=page.shape)


@dataclass(frozen=True)
class _Png:
    """The pixels of a PNG, decoded whole when they are asked for: its lines are compressed in one piece."""

    content: bytes
    plane: Plane

    def __getitem__(self, index: tuple[slice | int, ...], /) -> Voxels:
        array: Voxels = imagecodecs.png_decode(self.content)
        if (array.shape, array.dtype) != (self.plane.shape, self.plane.dtype):
            raise ValueError(f"its pixels are {array.shape} {array.dtype}, other than its header says")
        return array[index]


def _open_png(content: bytes) -> tuple[Plane, Indexable]:
    """Return the header and the pixels of a PNG."""
    if not content.startswith(PNG) or len(content) < 29:
        raise ValueError("it is not a PNG")
    width, height, depth, colour = struct.unpack_from(">IIBB", content, 16)
    if depth not in (8, 16) or colour not in _PNG_SAMPLES:
        raise ValueError(
            f"it has {depth} bits a sample, or a palette; only grey and colours of 8 or 16 bits can be read"
        )
    samples = _PNG_SAMPLES[colour]
    shape = (height, width) if samples == 1 else (height, width, samples)
    plane = Plane("yxs"[: len(shape)], shape, np.dtype(f"uint{depth}"), (height, width))
    return plane, _Png(content, plane)


def _metadata(path: Path) -> TiffMetadata:
    if path.suffix.lower() == ".png":
        return TiffMetadata()
    with tifffile.TiffFile(path) as tiff:
        return read_metadata(tiff)
