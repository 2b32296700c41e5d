"""Volumes to write: a pyramid of OME-Zarr, N5 or precomputed, written by units that have one writer each."""

from __future__ import annotations

import importlib
import math
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import DTypeLike, NDArray

from teralign.addresses import Address, as_place
from teralign.errors import InputError
from teralign.grids import Grid, Region, Triple, as_triple
from teralign.uploads import plan_upload, probe_upload
from teralign.volumes import n5, precomputed, pyramid
from teralign.volumes import ome_zarr as ome_zarr_format
from teralign.volumes.arrays import StoredArray, spatial
from teralign.volumes.chunk_files import ChunkFiles, Index, checksum
from teralign.volumes.description import DisplaySettings, PyramidLayout
from teralign.volumes.manifest import Manifest, StoredFile
from teralign.volumes.uri import form_by_name, locate
from teralign.volumes.volume import check_inside

_CREATE: dict[str, Callable[..., tuple[StoredArray, ...]]] = {
    "n5": n5.create,
    "zarr": ome_zarr_format.create,
    "precomputed": precomputed.create,
}
ONE_FILE = {"tiff": "tiff_file", "nrrd": "nrrd_file"}
"""The modules of formats that are one file, by the names of the formats."""

_CHECKED = {"n5": "n5", "precomputed": "precomputed", **ONE_FILE}
_SUFFIXES = {".zarr", ".n5", ".precomputed", ".tif", ".tiff", ".nrrd"}
_OME_ZARR = "0.5"
_CHUNK = 128
_SHARDED_CHUNK = 64
_SHARD = 256
_SHARDED_FROM = 512**3


@dataclass(frozen=True)
class VolumeWriter:
    """A volume that is being written, by channels and timepoints; axis order (z, y, x). Picklable.

    `levels` are the grids from fine to coarse, `factors` theirs to the finest. `write_shape` is the unit of writing
    on the lattice of each level: a unit has one writer, so nothing is locked. What `write` says it stored goes to
    `finish`, from whichever process.
    """

    uri: str
    levels: tuple[Grid, ...]
    dtype: np.dtype[Any]
    channels: int
    timepoints: int
    chunk_shape: Triple
    write_shape: Triple
    label: bool
    factors: tuple[Triple, ...]
    _arrays: tuple[StoredArray, ...]
    _files: tuple[tuple[ChunkFiles, ...], ...]

    def write(
        self, region: Region, array: NDArray[Any], *, level: int = 0, channel: int = 0, timepoint: int = 0
    ) -> list[StoredFile]:
        """Write (z, y, x) voxels to a region of whole units; they are on disk when it returns.

        Gives the files that hold them now: none for a unit of nothing but zeros.
        Raises ValueError for a region that cuts through a unit, or an array that does not fit it; DataError when the
        disk refuses.
        """
        self._check(region, level, channel, timepoint)
        self._check_units(region, level)
        if array.shape != region.shape or array.dtype != self.dtype:
            raise ValueError(f"{array.dtype} voxels {array.shape} do not fit {self.dtype} voxels {region.shape}")
        if region.size:
            self._arrays[level].write(region, array, channel, timepoint)
        units = (self._stored(unit, level, channel, timepoint) for unit in region.split(self.write_shape))
        return [file for file in units if file is not None]

    def finish(self, stored: Iterable[StoredFile], *, finest: int = 0) -> None:
        """Say that all is written: a manifest of the files that were stored goes into every array.

        Arrays of levels before `finest` were not written here, and get none. Raises DataError when the disk refuses.
        """
        manifests = [[Manifest.blank(files.counts) for files in level] for level in self._files]
        for file in stored:
            manifests[file.level][file.array].enter(file)
        for array, of_level in list(zip(self._arrays, manifests, strict=True))[finest:]:
            for folder, manifest in zip(array.folders, of_level, strict=True):
                manifest.save(folder)

    def read(self, region: Region, *, level: int = 0, channel: int = 0, timepoint: int = 0) -> NDArray[Any]:
        """The (z, y, x) voxels of a region as they are by now: 0 where nothing was written.

        Raises ValueError for what is outside the volume, DataError when the voxels cannot be read.
        """
        self._check(region, level, channel, timepoint)
        if region.size == 0:
            return np.empty(region.shape, dtype=self.dtype)
        return self._arrays[level].read(region, channel, timepoint)

    def build_level_region(
        self, level: int, region: Region, *, channel: int = 0, timepoint: int = 0
    ) -> list[StoredFile]:
        """Write a region of whole units of `level` (from 1) from the level before, which must be there already.

        Images are averaged, labels take the most frequent value, slab by slab to save memory. Gives the files and
        raises as `write` does.
        """
        if not 1 <= level < len(self.levels):
            raise ValueError(f"{self.uri} has levels 1 to {len(self.levels) - 1} to build, not {level}")
        step = self._step(level)
        built = np.empty(region.shape, dtype=self.dtype)
        _, height, width = self.levels[level].shape
        for slab in region.split((self.chunk_shape[0], height, width)):
            below = Region(_times(slab.start, step), _times(slab.stop, step))
            voxels = self.read(below, level=level - 1, channel=channel, timepoint=timepoint)
            built[slab.relative_to(region).slices] = self._reduce(voxels, step)
        return self.write(region, built, level=level, channel=channel, timepoint=timepoint)

    @property
    def family_shape(self) -> Triple:
        """Voxels (z, y, x) of the finest level that make one whole unit of the next one; a unit if there is none."""
        return family_shape(self.write_shape, self.factors)

    def file_shape(self, level: int) -> Triple:
        """Voxels (z, y, x) that one file of a level holds: a chunk or a shard, as the array on the disk has them."""
        return spatial(self._files[level][0].file_shape, self._arrays[level].axes)

    def above(self, region: Region) -> Region:
        """The voxels of the next level that lie wholly in a region of the finest; none without a next level."""
        if len(self.levels) == 1:
            return Region((0, 0, 0), (0, 0, 0))
        step = self._step(1)
        start, stop = (as_triple(n // s for n, s in zip(e, step, strict=True)) for e in (region.start, region.stop))
        return Region(start, stop)

    def coarsen(self, array: NDArray[Any]) -> NDArray[Any]:
        """The (z, y, x) voxels of a region of the finest level, as the next level has them in `above(region)`.

        The region begins with a voxel of the next level; what fills none of them is left out.
        """
        return self._reduce(array, self._step(1))

    def _stored(self, unit: Region, level: int, channel: int, timepoint: int) -> StoredFile | None:
        """The file that holds a unit, None where it holds nothing."""
        array = channel if len(self._files[level]) > 1 else 0
        files = self._files[level][array]
        first = {"t": timepoint, "c": channel, **dict(zip("zyx", unit.start, strict=True))}
        axes = zip(self._arrays[level].axes, files.file_shape, strict=True)
        index: Index = tuple(first.get(axis, 0) // size for axis, size in axes)
        found = checksum(files.file(index))
        return None if found is None else StoredFile(level, array, index, *found)

    def _step(self, level: int) -> Triple:
        """The voxels (z, y, x) of the level before that become one of this level."""
        return as_triple(b // a for a, b in zip(self.factors[level - 1], self.factors[level], strict=True))

    def _reduce(self, array: NDArray[Any], step: Triple) -> NDArray[Any]:
        return pyramid.mode(array, step) if self.label else pyramid.mean(array, step)

    def _check(self, region: Region, level: int, channel: int, timepoint: int) -> None:
        if not (0 <= level < len(self.levels) and 0 <= channel < self.channels and 0 <= timepoint < self.timepoints):
            raise ValueError(f"{self.uri} has no channel {channel} at timepoint {timepoint} in level {level}")
        check_inside(region, self.levels[level].shape, f"level {level} of {self.uri}")

    def _check_units(self, region: Region, level: int) -> None:
        sides = zip(region.start, region.stop, self.write_shape, self.levels[level].shape, strict=True)
        if any(a % unit or (b % unit and b != n) for a, b, unit, n in sides):
            raise ValueError(f"region {region.start} to {region.stop} cuts through write units of {self.write_shape}")


def create_volume(
    uri: str | Path,
    *,
    grid: Grid,
    dtype: DTypeLike,
    channels: int = 1,
    timepoints: int = 1,
    channel_names: Sequence[str] = (),
    display: Sequence[DisplaySettings] = (),
    time_step: float | None = None,
    chunk_shape: Triple | None = None,
    levels: int | None = None,
    label: bool = False,
    ome_zarr: str | None = None,
    resume: bool = False,
) -> VolumeWriter:
    """Create an empty pyramid, as `create_planned` does of what `plan_volume` plans."""
    layout = plan_volume(
        uri,
        grid=grid,
        dtype=dtype,
        channels=channels,
        timepoints=timepoints,
        channel_names=channel_names,
        display=display,
        time_step=time_step,
        chunk_shape=chunk_shape,
        levels=levels,
        label=label,
        ome_zarr=ome_zarr,
    )
    return create_planned(uri, layout, resume=resume)


def plan_volume(
    uri: str | Path,
    *,
    grid: Grid,
    dtype: DTypeLike,
    channels: int = 1,
    timepoints: int = 1,
    channel_names: Sequence[str] = (),
    display: Sequence[DisplaySettings] = (),
    time_step: float | None = None,
    chunk_shape: Triple | None = None,
    levels: int | None = None,
    label: bool = False,
    ome_zarr: str | None = None,
) -> PyramidLayout:
    """The layout of a pyramid at `uri`; nothing is written.

    `levels` None: as many as bring the longest side to 256 voxels. `label` voxels are never averaged. `display` and
    `time_step` are as in `Volume`. `ome_zarr` is the version of a .zarr, "0.4" or "0.5" (None). Raises InputError
    when no format holds such voxels, or when a version is asked for of an output that is no .zarr.
    """
    _, _, form = _locate_output(uri)
    if ome_zarr is not None and form != "zarr":
        raise InputError(f"--ome-zarr {ome_zarr} is for outputs that end in .zarr, which {uri} does not.")
    version = ome_zarr or _OME_ZARR
    if form in ONE_FILE and levels not in (None, 1):
        raise InputError(f"{uri} is one file, which has no coarser scales; leave out --levels.")
    chunk, unit = _storage(grid, chunk_shape, sharded=form == "zarr" and ome_zarr_format.holds_shards(version))
    grids, factors = pyramid.plan_levels(grid, 1 if form in ONE_FILE else levels)
    layout = PyramidLayout(
        levels=grids,
        factors=factors,
        dtype=np.dtype(dtype).newbyteorder("="),
        channels=channels,
        timepoints=timepoints,
        channel_names=tuple(channel_names),
        display=tuple(display) or (DisplaySettings(),) * channels,
        time_step=time_step,
        chunk_shape=chunk,
        write_shape=unit,
        label=label,
        ome_zarr=version,
    )
    if layout.dtype.kind not in "buif":
        raise InputError(f"{layout.dtype} voxels cannot be written to {uri}; only integers, floats and booleans can.")
    if form in _CHECKED:
        importlib.import_module(f"teralign.volumes.{_CHECKED[form]}").check_layout(uri, layout)
    return layout


def create_planned(uri: str | Path, layout: PyramidLayout, *, resume: bool = False) -> VolumeWriter:
    """Create an empty pyramid of a format by the ending of its name, in the group that the URI names.

    With `resume` the same volume may be there already, and keeps its voxels. Raises InputError when another one is
    there or the format cannot hold this one, DataError when the disk refuses.
    """
    container, dataset, form = _locate_output(uri)
    arrays = _CREATE[form](container, dataset, layout, resume=resume)
    return VolumeWriter(
        uri=str(uri),
        levels=layout.levels,
        dtype=layout.dtype,
        channels=layout.channels,
        timepoints=layout.timepoints,
        chunk_shape=layout.chunk_shape,
        write_shape=layout.write_shape,
        label=layout.label,
        factors=layout.factors,
        _arrays=arrays,
        _files=tuple(
            tuple(ChunkFiles.of(array.driver, path, array.scale) for path in array.paths) for array in arrays
        ),
    )


def check_output(uri: str | Path, *, overwrite: bool) -> Path | Address:
    """The container that an output URI creates, a path or an address in S3, after making sure that it can be.

    Its folder is made, or something is stored at the address and removed. Raises InputError as `plan_output` does,
    and when that is refused.
    """
    container = plan_output(uri, overwrite=overwrite)
    if isinstance(container, Address):
        probe_upload(container)
        return container
    try:
        container.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"the folder {container.parent} cannot be made: {error.strerror or error}.") from error
    if not os.access(container.parent, os.W_OK | os.X_OK):
        raise InputError(f"the folder {container.parent} may not be written; choose another output.")
    return container


def plan_output(uri: str | Path, *, overwrite: bool) -> Path | Address:
    """The container that an output URI would create; nothing is written.

    Raises InputError when it exists (`overwrite` allows a whole container, never one dataset in it), or when its
    format cannot be written.
    """
    container, dataset, _ = _locate_output(uri)
    if isinstance(container, Address):
        plan_upload(container, overwrite=overwrite and not dataset)
        return container
    if container.exists() and dataset:
        raise InputError(f"{container} exists already, and nothing is added to it; choose another output.")
    if container.exists() and not overwrite:
        raise InputError(f"{container} exists already; choose another output, or add --overwrite.")
    return container


def family_shape(write_shape: Triple, factors: Sequence[Triple]) -> Triple:
    """Voxels (z, y, x) of the finest level that make one whole unit of the next one; a unit if there is none."""
    return _times(write_shape, factors[1]) if len(factors) > 1 else write_shape


def _locate_output(uri: str | Path) -> tuple[Path | Address, str, str]:
    suffixes = {part.suffix.lower() for part in (Path(uri), *Path(uri).parents)}
    if not suffixes & _SUFFIXES:
        raise InputError(
            f"{uri} cannot be written; name the output something.zarr (OME-Zarr), .n5, .precomputed (Neuroglancer), "
            ".tif, .ome.tif or .nrrd."
        )
    if isinstance(as_place(uri), Address) and form_by_name(str(uri)) in ONE_FILE:
        raise InputError(f"{uri} is one file, and those are written to disks only; name one there and copy it.")
    container, dataset, form = locate(uri)
    if form not in (*_CREATE, *ONE_FILE) or (form in ONE_FILE and dataset):
        raise InputError(f"{uri} lies in {container}, which is a file; name an output outside it.")
    if form == "precomputed" and dataset:
        raise InputError(f"{uri} lies in {container}, which is one image with its scales; name only that.")
    return cast("Path | Address", container), dataset, form


def _storage(grid: Grid, chunk_shape: Triple | None, *, sharded: bool) -> tuple[Triple, Triple]:
    """The shapes (z, y, x) of a chunk and of a write unit: the same, or of a large volume shards where it may be."""
    sharded = sharded and math.prod(grid.shape) > _SHARDED_FROM
    side = _SHARDED_CHUNK if sharded else _CHUNK
    chunk = chunk_shape or _least((side, side, side), grid.shape)
    if not sharded:
        return chunk, chunk
    return chunk, _times(chunk, _chunks_in_shard(chunk))


def _chunks_in_shard(chunk: Triple) -> Triple:
    return as_triple(max(1, _SHARD // c) for c in chunk)


def _least(a: Triple, b: Triple) -> Triple:
    return as_triple(min(p, q) for p, q in zip(a, b, strict=True))


def _times(a: Triple, b: Triple) -> Triple:
    return as_triple(p * q for p, q in zip(a, b, strict=True))
