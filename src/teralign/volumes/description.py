"""The interface of the formats: the description of a dataset, and the layout of a new volume."""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from teralign.addresses import Place
from teralign.errors import InputError
from teralign.grids import FloatTriple, Grid, Region, Triple
from teralign.volumes.orientation import Directions, Orientation

log = logging.getLogger(__name__)

Voxels: TypeAlias = NDArray[np.generic]
"""Voxels of any type of number, (z, y, x) unless stated otherwise."""


class Pixels(Protocol):
    """Voxels on disk. Picklable, opened at the first read, safe to use from several threads."""

    def read(self, region: Region, channel: int, timepoint: int) -> Voxels:
        """Read the (z, y, x) voxels of a region inside the volume. Raises DataError when they cannot be read."""
        ...


@runtime_checkable
class PixelFiles(Protocol):
    """Voxels in other files than those that identify the volume."""

    @property
    def places(self) -> Sequence[Place]:
        """The files that hold the voxels, or folders with such files."""
        ...


@dataclass(frozen=True)
class DisplaySettings:
    """The initial display of a channel in viewers, None for values that the metadata lack.

    `colour` is RRGGBB; `window` has the smallest and the largest possible value, and the values shown as black and as
    full colour.
    """

    colour: str | None = None
    window: tuple[float, float, float, float] | None = None


StatedSpacing: TypeAlias = tuple[float | None, float | None, float | None]
"""The voxel size (z, y, x) in µm exactly as the metadata state it, None along an axis that they leave out."""


@dataclass(frozen=True)
class Description:
    """A dataset as its metadata describe it; axis order (z, y, x).

    `spacing` is None if the metadata give none; `spacing_note` gives a reason, if known. `origin` is in µm along axes
    with a usable size, in voxels along the others. `channel_names` and `display` are empty or have an entry for each
    channel; `time_step` is the seconds between timepoints; `files` identify the volume: when they change, it is
    another volume; `scales` are the datasets of the container that may hold the same image at other scales.

    `is_flat` is True if the image has no z axis; `orientation` is the turn of the stored array; `directions` are
    those of the turned array's axes; `relative_spacing` is in an unknown unit that all scales of the image share.
    """

    pixels: Pixels
    shape: Triple
    dtype: np.dtype[np.generic]
    chunk_shape: Triple
    spacing: StatedSpacing | None
    origin: FloatTriple = (0.0, 0.0, 0.0)
    channels: int = 1
    timepoints: int = 1
    channel_names: tuple[str, ...] = ()
    display: tuple[DisplaySettings, ...] = ()
    time_step: float | None = None
    files: tuple[Place, ...] = ()
    scales: tuple[str, ...] = ()
    spacing_note: str = ""
    is_flat: bool = False
    orientation: Orientation = field(default_factory=Orientation)
    directions: Directions = field(default_factory=Directions)
    relative_spacing: FloatTriple | None = None


class Adapter(Protocol):
    """One file format: a module of this package."""

    def describe(self, container: Place, dataset: str) -> Description:
        """Describe the image in `dataset` ("" for none named) of `container`, without reading voxels.

        Raises InputError when there is no such image, or it cannot be aligned.
        """
        ...


@dataclass(frozen=True)
class PyramidLayout:
    """A pyramid to be created: its grids from fine to coarse and their storage; axis order (z, y, x).

    `factors` are those of each level to level 0; `write_shape` is the unit with one writer: a shard, or a chunk.
    `channel_names`, `display`, `time_step` and `directions` are as in a `Description`; `ome_zarr` is the version of a
    .zarr.
    """

    levels: tuple[Grid, ...]
    factors: tuple[Triple, ...]
    dtype: np.dtype[np.generic]
    channels: int
    timepoints: int
    channel_names: tuple[str, ...]
    display: tuple[DisplaySettings, ...]
    time_step: float | None
    chunk_shape: Triple
    write_shape: Triple
    label: bool
    ome_zarr: str
    directions: Directions = field(default_factory=Directions)


def axes_by_name(array: str, names: Sequence[str | None], ndim: int) -> str | None:
    """Return the axes of an `array` by the names of its dimensions, None unless these are distinct: t, c, z, y, x.

    Names that are no such axes are logged, since the array is then read by position.
    """
    axes = "".join(name or "" for name in names).lower()
    if len(axes) == len(set(axes)) == ndim and set("zyx") <= set(axes) <= set("tczyx"):
        return axes
    if any(names):
        _note_unusable(array, ", ".join(name or "?" for name in names))
    return None


@functools.lru_cache(maxsize=1024)
def _note_unusable(array: str, names: str) -> None:
    """Log that names of axes are not used; once for each array, since commands read it repeatedly."""
    log.warning(
        "%s names its axes %s; it needs x, y and z, and may have c and t, each once. "
        "It is read as if its axes had no names",
        array,
        names,
    )


def axes_by_position(name: str, ndim: int) -> str:
    """Return the axes of an array that does not name them, slowest first: the last of (t, c, z, y, x).

    Raises InputError for an array of fewer than three dimensions, or more than five.
    """
    if ndim < 3:
        raise InputError(f"{name} has {ndim} dimensions; only 3-D volumes can be aligned.")
    if ndim > 5:
        raise InputError(f"{name} has {ndim} dimensions; at most five (t, c, z, y, x) can be read.")
    return "tczyx"[-ndim:]
