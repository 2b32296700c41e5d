"""Arrays in memory, or of dask, as volumes: what is done with files is done with them by the same code."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, TypeGuard

import numpy as np
from numpy.typing import NDArray

from teralign.errors import InputError
from teralign.grids import Grid, Region, as_triple
from teralign.volumes import Direction, Directions, Volume
from teralign.volumes.description import Description, Voxels

if TYPE_CHECKING:
    import dask.array as da
    import xarray as xr

NumpyOrDask: TypeAlias = "NDArray[np.generic] | da.Array"
"""An array of numpy, or a lazy one of dask."""


def is_data_array(value: object) -> TypeGuard[xr.DataArray]:
    """Return whether a value is a DataArray; xarray is not imported for it."""
    xarray = sys.modules.get("xarray")
    return xarray is not None and isinstance(value, xarray.DataArray)


def is_dask(value: object) -> TypeGuard[da.Array]:
    """Return whether a value is an array of dask; dask is not imported for it."""
    dask = sys.modules.get("dask.array")
    return dask is not None and isinstance(value, dask.Array)


def check_voxels(role: str, array: NumpyOrDask) -> None:
    """Raise InputError unless an array is a volume (z, y, x) of real numbers; `role` names it."""
    if array.ndim == 2:
        raise InputError(
            f"the {role} image has two dimensions, {array.shape}: Teralign aligns volumes (z, y, x); "
            "a single plane is image[None]."
        )
    if array.ndim != 3:
        raise InputError(
            f"the {role} image has {array.ndim} dimensions, {array.shape}: give one channel and timepoint, (z, y, x)."
        )
    if array.dtype.kind not in "biuf":
        raise InputError(f"the {role} image is of type {array.dtype}; voxels must be real numbers.")
    if min(array.shape) < 1:
        raise InputError(f"the {role} image has no voxels: its shape is {array.shape}.")


@dataclass(frozen=True, eq=False)
class ArrayPixels:
    """The voxels (z, y, x) of an array; those of dask are computed region by region."""

    array: NumpyOrDask

    def read(self, region: Region, channel: int, timepoint: int) -> Voxels:
        """Return the voxels of a region, C order, native byte order."""
        part = self.array[region.slices]
        values = np.asarray(part if isinstance(part, np.ndarray) else part.compute())
        kind = np.dtype(np.uint8) if values.dtype.kind == "b" else values.dtype.newbyteorder("=")
        return np.ascontiguousarray(values, dtype=kind)


@dataclass(frozen=True, eq=False)
class SpilledPixels:
    """The voxels (z, y, x) of an array in a file of numpy, for workers in other processes. Picklable."""

    path: Path

    def read(self, region: Region, channel: int, timepoint: int) -> Voxels:
        """Return the voxels of a region, C order."""
        stored: NDArray[np.generic] = np.load(self.path, mmap_mode="r")
        return np.array(stored[region.slices], order="C")


def volume_of(name: str, array: NumpyOrDask, grid: Grid, direction: Direction | None = None) -> Volume:
    """Return a checked array (z, y, x) on its grid as a volume; `name` stands for it in messages."""
    pixels = ArrayPixels(array)
    chunks = array.shape if isinstance(array, np.ndarray) else array.chunksize
    dtype = np.dtype(np.uint8) if array.dtype.kind == "b" else array.dtype.newbyteorder("=")
    description = Description(
        pixels,
        grid.shape,
        dtype,
        as_triple(chunks),
        grid.spacing,
        grid.origin,
        directions=Directions(direction),
    )
    return Volume(name, grid, description)
