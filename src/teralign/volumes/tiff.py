"""TIFF, OME-TIFF and ImageJ stacks, through tifffile.

The voxel size is OME's PhysicalSize, or ImageJ's spacing and resolution where ImageJ names a unit; other TIFFs state
none. Uncompressed contiguous voxels are mapped into memory; others are decoded tile by tile.

The levels of a pyramid (SubIFDs, as raw2ometiff, QuPath and Bio-Formats write them) are the datasets s0, s1, …, from
fine to coarse. The file gives only their shapes: their voxels are taken for means over voxels of the finest level.
"""

from __future__ import annotations

import re
import struct
import threading
import weakref
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, cast

import numpy as np
import tifffile
import zarr

from teralign.errors import DataError, InputError
from teralign.grids import FloatTriple, Region, as_float_triple
from teralign.volumes.description import Description, StatedSpacing, Voxels
from teralign.volumes.files import opening
from teralign.volumes.tiff_metadata import read_metadata
from teralign.volumes.tiff_parts import check_parts
from teralign.volumes.tiff_segments import limit_images
from teralign.volumes.units import is_size
from teralign.volumes.uri import nearest_name
from teralign.volumes.whole_file import check_one_image

_UNNAMED_PAGES = "QI"  # tifffile's letters for pages without an axis of their own
_SAMPLES = "S"
_BLANK_NUMBER = re.compile(r'\sSamplesPerPixel=(""|"\s+")')
DAMAGE = (
    OSError,
    ValueError,
    RuntimeError,
    EOFError,
    KeyError,
    IndexError,
    TypeError,
    ArithmeticError,
    AssertionError,
    zlib.error,
    struct.error,
    tifffile.TiffFileError,
)
"""The errors that tifffile and its decoders raise for damaged files."""


class Indexable(Protocol):
    """An array that reads only the indexed part: a memory map or a zarr array."""

    def __getitem__(self, index: tuple[slice | int, ...], /) -> Voxels:
        """Read the voxels at an index along each axis."""
        ...


def describe(container: Path, dataset: str) -> Description:
    """Describe the first image of a file: its finest level, or the level that `dataset` names."""
    with opening(container):
        try:
            with open_tiff(container) as tiff:
                check_parts(container, tiff)
                _check_ome(container, tiff)
                return _describe(container, dataset, tiff)
        except (InputError, OSError):
            raise
        except DAMAGE as error:
            raise InputError(f"{container} is not a TIFF that can be read: {error}.") from error


def open_tiff(path: Path) -> tifffile.TiffFile:
    """Open a file; blank numbers in its OME-XML, which some writers leave, count as not given."""
    tiff = tifffile.TiffFile(path)
    xml = tiff.ome_metadata or ""
    if not _BLANK_NUMBER.search(xml):
        return tiff
    tiff.close()
    return tifffile.TiffFile(path, omexml=_BLANK_NUMBER.sub("", xml).strip())


def _check_ome(path: Path, tiff: tifffile.TiffFile) -> None:
    """Raise InputError where OME-XML gives the planes an order or number that cannot be understood."""
    try:
        _ = tiff.series if tiff.is_ome else None
    except tifffile.TiffFileError:
        raise
    except (ValueError, KeyError) as error:
        raise InputError(
            f"{path} has OME-XML that does not say how its planes are arranged ({error}); save the image again, "
            "for example with Fiji."
        ) from error


@dataclass
class TiffPixels:
    """The voxels of a level of the first image in a file; `axes` are those of its array, samples as channels."""

    path: Path
    axes: str
    level: int = 0
    _array: Indexable | None = field(default=None, init=False, repr=False, compare=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False, compare=False)

    def __reduce__(self) -> tuple[type[TiffPixels], tuple[Path, str, int]]:
        return TiffPixels, (self.path, self.axes, self.level)

    def read(self, region: Region, channel: int, timepoint: int) -> Voxels:
        """Read the (z, y, x) voxels of `region`. Raises DataError when they cannot be read."""
        chosen: dict[str, slice | int] = dict(zip("zyx", region.slices, strict=True))
        chosen |= {"c": channel, "t": timepoint}
        left = [axis for axis in self.axes if axis in "zyx"]
        try:
            found = np.asarray(self._open()[tuple(chosen.get(axis, 0) for axis in self.axes)])
        except DAMAGE as error:
            raise DataError(
                f"{self.path} cannot be read from {region.start} to {region.stop} (zyx): {error}."
            ) from error
        if "z" not in left:
            found, left = found[np.newaxis], ["z", *left]
        turned = found.transpose([left.index(axis) for axis in "zyx"])
        return np.ascontiguousarray(turned, dtype=found.dtype.newbyteorder("="))

    def _open(self) -> Indexable:
        with self._lock:
            if self._array is None:
                tiff = open_tiff(self.path)
                weakref.finalize(self, tiff.close)
                self._array = _pixels_of(tiff, self.path, self.level)
            return self._array


def _pixels_of(tiff: tifffile.TiffFile, path: Path, level: int) -> Indexable:
    series = tiff.series[0].levels[level]
    if _missing_planes(series):
        raise ValueError("some of its planes are missing")
    if series.dataoffset is None:
        limit_images(page for page in series if page is not None)
        return cast(Indexable, zarr.open_array(tiff.series[0].aszarr(level=level), mode="r"))
    dtype = np.dtype(series.dtype).newbyteorder(tiff.byteorder)
    return np.memmap(path, dtype=dtype, mode="r", offset=series.dataoffset, shape=series.shape)


def _missing_planes(series: tifffile.TiffPageSeries) -> int:
    """Return the number of planes that the metadata declare and no file holds; tifffile would give zeros."""
    return sum(page is None for page in series.pages)


def _describe(path: Path, dataset: str, tiff: tifffile.TiffFile) -> Description:
    levels = tiff.series[0].levels
    number = _level_number(path, dataset, len(levels))
    series = levels[number]
    axes = _axes(path, series.axes)
    missing = _missing_planes(series)
    if missing:
        raise InputError(
            f"{path} declares {len(series.pages)} planes, but {missing} of them are in no file; copy all files of "
            "the image, or save it again, for example with Fiji."
        )
    size = dict(zip(axes, series.shape, strict=True))
    if series.dtype is None or np.dtype(series.dtype).kind not in "buif":
        raise InputError(f"{path} holds {series.dtype} values; only integers, floats and booleans can be read.")
    stated = read_metadata(tiff)
    channels = size.get("c", 1)
    tile_y, tile_x = series.keyframe.chunks[:2] if series.dataoffset is None else (size["y"], size["x"])
    shape = (size.get("z", 1), size["y"], size["x"])
    finest = dict(zip(_axes(path, levels[0].axes), levels[0].shape, strict=True))
    factors = [_factor(finest.get(axis, 1), size.get(axis, 1)) for axis in "zyx"]
    spacing, origin = _coarser(stated.spacing, stated.origin, factors)
    return Description(
        pixels=TiffPixels(path, axes, number),
        shape=shape,
        dtype=np.dtype(series.dtype).newbyteorder("="),
        chunk_shape=(1, tile_y, tile_x),
        spacing=spacing,
        origin=origin,
        channels=channels,
        timepoints=size.get("t", 1),
        channel_names=stated.names if len(stated.names) == channels else (),
        display=stated.display if len(stated.display) == channels else (),
        time_step=stated.time_step,
        files=(path,),
        scales=tuple(f"s{other}" for other in range(len(levels)) if other != number),
        spacing_note=stated.spacing_note,
        is_flat="z" not in axes,
    )


def _level_number(path: Path, dataset: str, count: int) -> int:
    """Return which level a dataset names, 0 for none. Raises InputError where there is no such level."""
    if count == 1:
        check_one_image(path, dataset)
    names = [f"s{number}" for number in range(count)]
    if dataset and dataset not in names:
        raise InputError(f"{path} has no scale {dataset}; {nearest_name(dataset, names)}.")
    return names.index(dataset) if dataset else 0


def _factor(fine: int, coarse: int) -> float:
    """Return how many voxels of the finest level make one of a coarser: a whole number if the sizes allow it."""
    factor = max(1, round(fine / coarse))
    return factor if coarse in (fine // factor, -(-fine // factor)) else fine / coarse


def _coarser(
    spacing: StatedSpacing | None, origin: FloatTriple, factors: Sequence[float]
) -> tuple[StatedSpacing | None, FloatTriple]:
    """Return spacing and origin of a level, whose voxels are means over `factors` (z, y, x) of the finest ones."""
    sizes: StatedSpacing = spacing or (None, None, None)
    z, y, x = (None if size is None else size * f for size, f in zip(sizes, factors, strict=True))
    steps = zip(origin, sizes, factors, strict=True)  # in voxels of the level where their size is unknown
    moved = (o + s * (f - 1) / 2 if is_size(s) else o + (f - 1) / (2 * f) for o, s, f in steps)
    return (z, y, x), as_float_triple(moved)


def _axes(path: Path, axes: str) -> str:
    """Return tifffile's axes as t, c, z, y, x: unnamed pages are planes along z, colour samples are channels."""
    letters = axes.lower()
    if "z" not in letters:
        letters = next((letters.replace(p.lower(), "z", 1) for p in _UNNAMED_PAGES if p in axes), letters)
    if "c" not in letters:
        letters = letters.replace(_SAMPLES.lower(), "c")
    if not set("yx") <= set(letters) <= set("tczyx") or len(set(letters)) < len(letters):
        raise InputError(f"{path} has the axes {axes}; only t, c, z, y and x can be read.")
    return letters
