"""Volumes to read: opened from their metadata, voxels read by region, in any process."""

from __future__ import annotations

import hashlib
import importlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from teralign.addresses import Place, as_place
from teralign.errors import InputError
from teralign.grids import FloatTriple, Grid, Region, Triple
from teralign.volumes.arrays import StoredArray
from teralign.volumes.description import Adapter, Description, DisplaySettings
from teralign.volumes.files import file_state, opening
from teralign.volumes.uri import locate


@dataclass(frozen=True)
class Volume:
    """A 3-D image on disk or at an address, by channels and timepoints; axis order (z, y, x).

    `channel_names` and `display` have one for each channel; `time_step` is the seconds between timepoints, None where
    nobody says it.

    Picklable: a worker opens the files at its first read. Reads from several threads are safe.
    """

    uri: str
    grid: Grid
    dtype: np.dtype[Any]
    channels: int
    timepoints: int
    channel_names: tuple[str, ...]
    display: tuple[DisplaySettings, ...]
    time_step: float | None
    chunk_shape: Triple
    _source: Description

    def read(self, region: Region | None = None, *, channel: int = 0, timepoint: int = 0) -> NDArray[Any]:
        """The (z, y, x) voxels of a region (default: all), C order, native byte order.

        Raises ValueError for what is outside the volume, DataError when the voxels cannot be read.
        """
        region = region or self.grid.region
        check_inside(region, self.grid.shape, self.uri)
        if not (0 <= channel < self.channels and 0 <= timepoint < self.timepoints):
            raise ValueError(f"{self.uri} has no channel {channel} at timepoint {timepoint}")
        if region.size == 0:
            return np.empty(region.shape, dtype=self.dtype)
        return self._source.pixels.read(region, channel, timepoint)

    def is_blank(self, region: Region, *, channel: int = 0, timepoint: int = 0) -> bool:
        """Whether nothing is stored of a region, so that all its voxels are 0.

        It takes a hundredth of reading it; False where it would take longer.
        """
        return self.stored is not None and self.stored.is_blank(region, channel, timepoint)

    @property
    def scales(self) -> tuple[str, ...]:
        """The datasets of the container that may hold the same image at other scales."""
        return self._source.scales

    @property
    def stored(self) -> StoredArray | None:
        """The chunked array that holds the voxels, None where they are in no array with a folder of its own."""
        pixels = self._source.pixels
        return pixels if isinstance(pixels, StoredArray) else None

    @property
    def files(self) -> tuple[Place, ...]:
        """The files whose change means another volume: metadata, or the only file that there is."""
        return self._source.files

    def digest(self) -> str:
        """A fingerprint that changes with the metadata, the file or the voxel size; chunks are not looked at."""
        digest = hashlib.blake2b(repr((str(as_place(self.uri).resolve()), self.grid)).encode(), digest_size=16)
        for file in self._source.files:
            digest.update(file_state(file))
        return digest.hexdigest()


def open_volume(uri: str | Path, *, spacing: Sequence[float] | None = None, option: str = "--spacing") -> Volume:
    """Open a volume from its metadata, without reading voxels.

    `spacing` (z, y, x) in µm replaces what the metadata say; `option` is how the user gives it. Raises InputError for
    whatever cannot be opened or aligned, and when neither the metadata nor `spacing` give the voxel size.
    """
    container, dataset, form = locate(uri)
    adapter = _adapter(form)
    with opening(container):
        source = adapter.describe(container, dataset)
    if min(source.shape) < 1 or source.channels < 1 or source.timepoints < 1:
        z, y, x = source.shape
        raise InputError(f"{uri} is empty: it has {x} x {y} x {z} voxels (x, y, z).")
    names = source.channel_names or tuple(str(c) for c in range(source.channels))
    return Volume(
        uri=str(uri),
        grid=_grid(str(uri), source, spacing, option),
        dtype=source.dtype,
        channels=source.channels,
        timepoints=source.timepoints,
        channel_names=names,
        display=source.display or (DisplaySettings(),) * source.channels,
        time_step=source.time_step,
        chunk_shape=source.chunk_shape,
        _source=source,
    )


def check_inside(region: Region, shape: Triple, name: str) -> None:
    """Raise ValueError unless the region lies inside an array of this (z, y, x) shape."""
    bounds = zip(region.start, region.stop, shape, strict=True)
    if not all(0 <= a <= b <= n for a, b, n in bounds):
        raise ValueError(f"region {region.start} to {region.stop} is not inside {name}, whose shape is {shape}")


def _grid(uri: str, source: Description, spacing: Sequence[float] | None, option: str) -> Grid:
    """The grid of a description; an origin moves with a spacing that replaces the metadata's."""
    stated = source.spacing
    if spacing is None and stated is None:
        raise InputError(f"{uri} does not say how large its voxels are; give {option} X,Y,Z in µm.")
    if stated is not None and not _usable(stated):
        raise InputError(f"{uri} says that its voxels are {stated} µm (z, y, x); give {option} X,Y,Z in µm.")
    chosen = stated if spacing is None else tuple(float(s) for s in spacing)
    if chosen is None or len(chosen) != 3 or not _usable(chosen):
        raise InputError(f"{option} needs three positive numbers of µm, not {chosen}.")
    z, y, x = chosen
    unit: FloatTriple = (1.0, 1.0, 1.0) if stated is None else stated
    if chosen == stated:
        return Grid(source.shape, (z, y, x), source.origin)
    oz, oy, ox = (o * s / u for o, s, u in zip(source.origin, chosen, unit, strict=True))
    return Grid(source.shape, (z, y, x), (oz, oy, ox))


def _usable(spacing: Sequence[float]) -> bool:
    return all(s > 0 and math.isfinite(s) for s in spacing)


def _adapter(form: str) -> Adapter:
    """The module of a format, imported when first met: their libraries are heavy."""
    return cast("Adapter", importlib.import_module(f"teralign.volumes.{form}"))
