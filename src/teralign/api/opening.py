"""`open`: a volume of any format as a lazy DataArray with coordinates in µm."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from teralign.addresses import absolute_uri
from teralign.api.coordinates import DIMENSIONS, attributes_of, coordinates_of, spacing_of
from teralign.errors import InputError
from teralign.grids import Region, as_triple
from teralign.volumes import Volume, coarser_levels, open_volume, split_uri
from teralign.volumes.description import Voxels
from teralign.volumes.uri import nearest_name

if TYPE_CHECKING:
    import dask.array as da
    import xarray as xr

AxisIndex: TypeAlias = "int | slice | Sequence[int]"
_CHUNK_BYTES = 32 << 20  # about: chunks of dask are whole chunks of the file, few enough for its scheduler


def open(
    uri: str | Path,
    *,
    channel: int | str | None = None,
    timepoint: int | None = None,
    level: int | str | None = None,
    spacing: float | Sequence[float] | None = None,
) -> xr.DataArray:
    """Return a volume on disk or at an address as a DataArray; no voxels are read until they are asked for.

    The dimensions are (t, c, z, y, x), without t and c where the volume has one timepoint or channel, or where
    `timepoint` and `channel` (its number or name) choose one. The coordinates z, y and x are the centres of the
    voxels in µm; inside is an array of dask, whose chunks are whole chunks of the file. `level` is the name of a
    dataset in the container, or a number: 0 is the volume that the URI names, 1 the next coarser one beside it.
    `spacing` (z, y, x) in µm replaces the voxel size of the metadata. The attributes are `spacing`, `origin` (µm)
    and `uri`.

    Raises InputError for what cannot be opened, and for a channel, timepoint or level that does not exist.

    Examples:
        >>> image = ta.open("round1.zarr", level=1)
        >>> image.dims, image.attrs["spacing"]
        (('z', 'y', 'x'), (2.0, 2.0, 2.0))
        >>> float(image.y[0]), image.y.attrs["units"]
        (0.5, 'µm')
        >>> image.sel(z=slice(10, 20)).shape
        (6, 24, 24)
    """
    volume = _opened(uri, level, None if spacing is None else spacing_of("opened", spacing))
    if timepoint is not None and not 0 <= timepoint < volume.timepoints:
        raise InputError(f"{volume.uri} has the timepoints 0 to {volume.timepoints - 1}, not {timepoint}.")
    return lazy_array(
        StoredVoxels(volume),
        volume,
        channel=None if channel is None else _number_of(volume, channel),
        timepoint=timepoint,
    )


@dataclass(frozen=True)
class StoredVoxels:
    """A volume as dask reads arrays: (t, c, z, y, x), by slices."""

    volume: Volume

    @property
    def shape(self) -> tuple[int, ...]:
        """The numbers of timepoints and channels, and of voxels along z, y, x."""
        return (self.volume.timepoints, self.volume.channels, *self.volume.grid.shape)

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """The type of the voxels."""
        return self.volume.dtype

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return 5

    def __getitem__(self, index: tuple[AxisIndex, ...]) -> Voxels:
        """Return the voxels at an index that has a number, a slice or a list of numbers for each dimension."""
        wanted = [np.atleast_1d(np.arange(n)[at]) for at, n in zip(index, self.shape, strict=True)]
        times, channels, *space = wanted
        if any(at.size == 0 for at in wanted):
            read = np.empty([at.size for at in wanted], self.dtype)
        else:
            region = Region(as_triple(at.min() for at in space), as_triple(at.max() + 1 for at in space))
            inside = np.ix_(*(at - at.min() for at in space))
            read = np.array(
                [
                    [self.volume.read(region, channel=int(c), timepoint=int(t))[inside] for c in channels]
                    for t in times
                ]
            )
        return read[tuple(0 if isinstance(at, int | np.integer) else slice(None) for at in index)]


def lazy_array(voxels: StoredVoxels, volume: Volume, *, channel: int | None, timepoint: int | None) -> xr.DataArray:
    """Return the voxels of a volume as a DataArray of dask, with one channel and timepoint or all of them."""
    import dask.array as da

    chunks = da.core.normalize_chunks(
        (1, 1, "auto", "auto", "auto"),
        shape=voxels.shape,
        limit=_CHUNK_BYTES,
        dtype=voxels.dtype,
        previous_chunks=(1, 1, *volume.chunk_shape),
    )
    name, meta = f"teralign-{volume.digest()}", np.empty((0,) * 5, volume.dtype)
    array = da.from_array(voxels, chunks=chunks, name=name, asarray=False, meta=meta)
    return labelled(array, volume, channel=channel, timepoint=timepoint)


def labelled(array: da.Array, volume: Volume, *, channel: int | None, timepoint: int | None) -> xr.DataArray:
    """Return an array (t, c, z, y, x) on the grid of a volume as a DataArray, with its names and positions."""
    import xarray as xr

    names = list(volume.channel_names)
    picked = array[_index(timepoint, volume.timepoints), _index(channel, volume.channels)]
    dims = list(DIMENSIONS)
    coords: dict[str, object] = dict(coordinates_of(volume.grid))
    if channel is None and volume.channels > 1:
        dims.insert(0, "c")
        coords["c"] = names
    elif volume.channels > 1 and channel is not None:
        coords["c"] = names[channel]
    if timepoint is None and volume.timepoints > 1:
        dims.insert(0, "t")
    attrs = {**attributes_of(volume.grid, volume.direction), "uri": volume.uri}
    return xr.DataArray(picked, coords=coords, dims=dims, name=_name(volume.uri), attrs=attrs)


def _index(chosen: int | None, count: int) -> int | slice:
    if chosen is not None:
        return chosen
    return 0 if count == 1 else slice(None)


def _opened(uri: str | Path, level: int | str | None, spacing: Sequence[float] | None) -> Volume:
    if not isinstance(uri, str | os.PathLike):
        raise InputError(f"open takes the path or URI of a volume, not a {type(uri).__name__}.")
    name = absolute_uri(str(uri))
    if isinstance(level, str):
        return open_volume(f"{name.rstrip('/')}/{level}", spacing=spacing, option="spacing")
    volume = open_volume(name, spacing=spacing, option="spacing")
    if not level:
        return volume
    coarser = coarser_levels(volume)
    levels = [volume, *(coarser[factors] for factors in sorted(coarser, key=math.prod))]
    if not 0 <= level < len(levels):
        raise InputError(f"{uri} has the levels 0 to {len(levels) - 1}, not {level}.")
    return levels[level]


def _number_of(volume: Volume, channel: int | str) -> int:
    """Return the number of a channel that is given by its number or name; InputError where there is none such."""
    if isinstance(channel, str):
        if channel not in volume.channel_names:
            raise InputError(
                f"{volume.uri} has no channel {channel!r}: {nearest_name(channel, volume.channel_names)}."
            )
        return volume.channel_names.index(channel)
    if not 0 <= channel < volume.channels:
        raise InputError(f"{volume.uri} has the channels 0 to {volume.channels - 1}, not {channel}.")
    return channel


def _name(uri: str) -> str:
    container, dataset = split_uri(uri)
    stem = container.name.split(".")[0]
    return f"{stem}/{dataset}" if dataset else stem
