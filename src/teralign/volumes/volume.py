"""Volumes to read: opened from their metadata, voxels read by region, in any process."""

from __future__ import annotations

import hashlib
import importlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np

from teralign.addresses import Address, Place, as_place
from teralign.errors import InputError, understanding
from teralign.grids import Grid, Region, Triple
from teralign.volumes.arrays import StoredArray
from teralign.volumes.chunk_files import ChunkFiles
from teralign.volumes.description import Adapter, Description, DisplaySettings, PixelFiles, Pixels, Voxels
from teralign.volumes.files import opening
from teralign.volumes.orientation import Direction, Directions
from teralign.volumes.spacing import place_voxels, warn_if_implausible
from teralign.volumes.states import chunk_versions, files_state, folder_state
from teralign.volumes.uri import locate, split_z_axis
from teralign.volumes.z_axis import refuse_flat, stack_planes

_LARGEST = 2**63 - 1  # bytes, as offsets in files and arrays count them


@dataclass(frozen=True)
class Volume:
    """A 3-D image on disk or at an address, by channels and timepoints; axis order (z, y, x).

    Picklable: a worker opens the files at its first read. Reads from several threads are safe. Spacing and origin of
    the grid are those of the metadata, or of the user, divided by `expansion`.
    """

    uri: str
    grid: Grid
    description: Description
    expansion: float = 1.0

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """The type of the voxels, in native byte order."""
        return self.description.dtype

    @property
    def channels(self) -> int:
        """The number of channels."""
        return self.description.channels

    @property
    def timepoints(self) -> int:
        """The number of timepoints."""
        return self.description.timepoints

    @property
    def channel_names(self) -> tuple[str, ...]:
        """The name of each channel: its number if the metadata give none."""
        return self.description.channel_names or tuple(str(c) for c in range(self.channels))

    @property
    def display(self) -> tuple[DisplaySettings, ...]:
        """The initial display of each channel in viewers."""
        return self.description.display or (DisplaySettings(),) * self.channels

    @property
    def time_step(self) -> float | None:
        """The seconds between timepoints, None if the metadata lack them."""
        return self.description.time_step

    @property
    def directions(self) -> Directions:
        """The directions of the axes."""
        return self.description.directions

    @property
    def direction(self) -> Direction | None:
        """The matrix from positions along the volume's own axes to the world, None where they are the same."""
        return self.directions.matrix

    @property
    def chunk_shape(self) -> Triple:
        """The (z, y, x) shape of the unit in which voxels are read."""
        return self.description.chunk_shape

    def read(self, region: Region | None = None, *, channel: int = 0, timepoint: int = 0) -> Voxels:
        """Return the (z, y, x) voxels of a region (default: all), C order, native byte order.

        Raises ValueError for a region outside the volume, DataError when the voxels cannot be read.
        """
        region = region or self.grid.region
        check_inside(region, self.grid.shape, self.uri)
        if not (0 <= channel < self.channels and 0 <= timepoint < self.timepoints):
            raise ValueError(f"{self.uri} has no channel {channel} at timepoint {timepoint}")
        if region.size == 0:
            return np.empty(region.shape, dtype=self.dtype)
        return self.description.pixels.read(region, channel, timepoint)

    def is_blank(self, region: Region, *, channel: int = 0, timepoint: int = 0) -> bool:
        """Return whether no chunk of a region is stored, so that all its voxels are 0.

        It takes a hundredth of the time of reading; False where it would take longer.
        """
        return self.stored is not None and self.stored.is_blank(region, channel, timepoint)

    @property
    def scales(self) -> tuple[str, ...]:
        """The datasets of the container that may hold the same image at other scales."""
        return self.description.scales

    @property
    def stored(self) -> StoredArray | None:
        """The chunked array that holds the voxels, None if they are in no array with a folder of its own."""
        pixels = self.description.pixels
        return pixels if isinstance(pixels, StoredArray) else None

    @property
    def files(self) -> tuple[Place, ...]:
        """The files that identify the volume, since a change makes another volume: the metadata, or the only file."""
        return self.description.files

    def digest(self) -> str:
        """Return a fingerprint that changes with the metadata, the voxel size and the files of the voxels.

        It takes seconds, since it does not read all voxels: `states` says what it covers. Raises InputError when a
        file cannot be read.
        """
        digest = hashlib.blake2b(repr((str(as_place(self.uri).resolve()), self.grid)).encode(), digest_size=16)
        digest.update(files_state(self.description.files))
        digest.update(_state_of_voxels(self.description.pixels))
        return digest.hexdigest()


def _state_of_voxels(pixels: Pixels) -> bytes:
    """Return the state of the files that hold voxels; at an address only that of arrays is known."""
    places = pixels.places if isinstance(pixels, PixelFiles) else ()
    folders = [place for place in places if isinstance(place, Path) and place.is_dir()]
    archives = {archive for place in places if isinstance(place, Address) and (archive := place.archive)}
    files = [place for place in places if isinstance(place, Path) and place not in folders]
    states = [files_state([*files, *sorted(archives)]), *map(folder_state, folders)]
    if isinstance(pixels, StoredArray) and not folders and not archives:
        states += [chunk_versions(ChunkFiles.of(pixels.driver, path, pixels.scale)) for path in pixels.paths]
    return b"".join(states)


def open_volume(
    uri: str | Path,
    *,
    spacing: Sequence[float] | None = None,
    expansion: float = 1.0,
    option: str = "--spacing",
) -> Volume:
    """Open a volume from its metadata, without reading voxels; implausible voxel sizes are logged.

    `spacing` (z, y, x) in µm replaces the one in the metadata; `option` is its option, for messages. The lengths of
    an expanded sample are divided by its `expansion`. Raises InputError for an image that cannot be opened or
    aligned, when neither the metadata nor `spacing` give the voxel size, and for an expansion that is not positive.
    """
    volume = open_level(uri, spacing=spacing, option=option)
    warn_if_implausible(volume.uri, volume.grid.spacing, option)
    if not (math.isfinite(expansion) and expansion > 0):
        raise InputError(f"the expansion of {uri} must be a positive number, not {expansion:g}.")
    return replace(volume, grid=volume.grid.divide(expansion), expansion=expansion)


def open_level(uri: str | Path, *, spacing: Sequence[float] | None = None, option: str = "--spacing") -> Volume:
    """Open a volume as `open_volume` does, but accept any voxel size: coarse levels have large voxels."""
    description = _described(uri)
    if description.is_flat:
        raise refuse_flat(str(uri), description)
    return _placed(uri, description, spacing, option)


def open_tile(uri: str | Path, *, spacing: Sequence[float] | None = None, planes: str = "") -> Volume:
    """Open the volume of a tile as `open_level` does; it may be flat, of one plane.

    With `planes`, a pattern of names with a star such as *CHN00*.tif, `uri` is a folder that may hold other files:
    those of this pattern are the planes, in the order of their numbers.
    """
    if not planes:
        return _placed(uri, _described(uri), spacing, "--spacing")
    folder = Path(uri)
    with opening(folder), understanding(folder):
        description = _adapter("slices").describe(folder, planes)
    return _placed(uri, description, spacing, "--spacing")


def _described(uri: str | Path) -> Description:
    """Return the description of the image at a URI, its planes along z as the URI's ending says."""
    container, dataset, form = locate(uri)
    adapter = _adapter(form)
    with opening(container), understanding(container):
        description = adapter.describe(container, dataset)
    _, z_axis = split_z_axis(str(uri))
    return stack_planes(str(uri), description, z_axis) if z_axis else description


def _placed(uri: str | Path, description: Description, spacing: Sequence[float] | None, option: str) -> Volume:
    """Return the volume of a description. Raises InputError for one that is empty, or larger than any disk."""
    if min(description.shape) < 1 or description.channels < 1 or description.timepoints < 1:
        z, y, x = description.shape
        raise InputError(f"{uri} is empty: it has {x} x {y} x {z} voxels (x, y, z).")
    size = math.prod((*description.shape, description.channels, description.timepoints))
    if size * description.dtype.itemsize > _LARGEST:
        z, y, x = description.shape
        raise InputError(f"{uri} declares {x} x {y} x {z} voxels (x, y, z), more than any disk; repair its metadata.")
    return Volume(str(uri), place_voxels(str(uri), description, spacing, option), description)


def label_images(uri: str | Path) -> tuple[str, ...]:
    """Return the datasets of the label images that an OME-Zarr image lists; other formats have no such list."""
    container, dataset, form = locate(uri)
    if form != "zarr":
        return ()
    from teralign.volumes import zarr

    with understanding(container):
        return zarr.label_images(container, dataset)


def check_inside(region: Region, shape: Triple, name: str) -> None:
    """Raise ValueError unless the region lies inside an array of this (z, y, x) shape."""
    bounds = zip(region.start, region.stop, shape, strict=True)
    if not all(0 <= a <= b <= n for a, b, n in bounds):
        raise ValueError(f"region {region.start} to {region.stop} is not inside {name}, whose shape is {shape}")


def _adapter(form: str) -> Adapter:
    """Return the module of a format, imported when first needed: their libraries are heavy."""
    return cast("Adapter", importlib.import_module(f"teralign.volumes.{form}"))
