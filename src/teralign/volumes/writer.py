"""Volumes to write: a pyramid of OME-Zarr, N5 or precomputed, in units with one writer each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Unpack, cast

import numpy as np
from numpy.typing import DTypeLike

from teralign.grids import Grid, Region, Triple, as_triple, product
from teralign.volumes import n5, precomputed, pyramid
from teralign.volumes import ome_zarr as ome_zarr_format
from teralign.volumes.arrays import StoredArray, spatial
from teralign.volumes.chunk_files import ChunkFiles, checksum
from teralign.volumes.chunk_names import Index
from teralign.volumes.description import DisplaySettings, PyramidLayout, Voxels
from teralign.volumes.manifest import Manifest, StoredFile
from teralign.volumes.outputs import LayoutOptions, batch_shape, locate_output, plan_volume
from teralign.volumes.volume import check_inside
from teralign.volumes.windows import window_of

_CREATE: dict[str, Callable[..., tuple[StoredArray, ...]]] = {
    "n5": n5.create,
    "zarr": ome_zarr_format.create,
    "precomputed": precomputed.create,
}


@dataclass(frozen=True)
class VolumeWriter:
    """A volume that is being written, by channels and timepoints; axis order (z, y, x). Picklable.

    A unit of the layout's `write_shape`, on the lattice of each level, has one writer, so nothing is locked. What
    `write` returns as stored goes to `finish`, from whichever process. `arrays` and `files` are those of each
    level.
    """

    uri: str
    layout: PyramidLayout
    arrays: tuple[StoredArray, ...]
    files: tuple[tuple[ChunkFiles, ...], ...]

    @classmethod
    def of(cls, uri: str, layout: PyramidLayout, arrays: Sequence[StoredArray]) -> VolumeWriter:
        """Return the writer of these arrays, which exist."""
        files = ((ChunkFiles.of(array.driver, path, array.scale) for path in array.paths) for array in arrays)
        return cls(uri, layout, tuple(arrays), tuple(map(tuple, files)))

    @property
    def levels(self) -> tuple[Grid, ...]:
        """The grids from fine to coarse."""
        return self.layout.levels

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """The type of the voxels, in native byte order."""
        return self.layout.dtype

    @property
    def write_shape(self) -> Triple:
        """The shape (z, y, x) of a write unit."""
        return self.layout.write_shape

    def write(
        self, region: Region, array: Voxels, *, level: int = 0, channel: int = 0, timepoint: int = 0
    ) -> list[StoredFile]:
        """Write (z, y, x) voxels to a region of whole units; they are on disk when it returns.

        Returns the files that hold them now: none for a unit that holds only zeros.
        Raises ValueError for a region that cuts through a unit, or an array that does not fit it; DataError when the
        disk refuses.
        """
        self._check(region, level, channel, timepoint)
        self._check_units(region, level)
        if array.shape != region.shape or array.dtype != self.dtype:
            raise ValueError(f"{array.dtype} voxels {array.shape} do not fit {self.dtype} voxels {region.shape}")
        if region.size:
            self.arrays[level].write(region, array, channel, timepoint)
        units = (self._stored(unit, level, channel, timepoint) for unit in region.split(self.write_shape))
        return [file for file in units if file is not None]

    def finish(self, stored: Iterable[StoredFile], *, finest: int = 0) -> None:
        """Finish the volume: write a manifest of the stored files into every array.

        Arrays of levels before `finest` were not written here, and get none. Raises DataError when the disk refuses.
        """
        manifests = [[Manifest.blank(files.counts) for files in level] for level in self.files]
        for file in stored:
            manifests[file.level][file.array].enter(file)
        for array, of_level in list(zip(self.arrays, manifests, strict=True))[finest:]:
            for folder, manifest in zip(array.folders, of_level, strict=True):
                manifest.save(folder)

    def declare_windows(self) -> None:
        """Give the channels of an image without a display window that of their voxels, where the format has a place.

        All levels must be there. Raises DataError when the disk refuses, or voxels cannot be read.
        """
        container, dataset, form = locate_output(self.uri)
        layout = self.layout
        if form != "zarr" or layout.label or not layout.channel_names:
            return
        layout = replace(layout, display=self.display())
        ome_zarr_format.write_metadata(cast("Path", container), dataset, layout)

    def display(self) -> tuple[DisplaySettings, ...]:
        """Return the display settings of the channels, with windows from the coarsest level where they lack one.

        All levels must be there. Raises DataError when voxels cannot be read.
        """
        return tuple(self._with_window(channel, settings) for channel, settings in enumerate(self.layout.display))

    def _with_window(self, channel: int, settings: DisplaySettings) -> DisplaySettings:
        if settings.window is not None:
            return settings
        level = len(self.levels) - 1
        window = window_of(
            lambda region, timepoint: self.read(region, level=level, channel=channel, timepoint=timepoint),
            self.levels[level],
            self.write_shape,
            self.layout.timepoints,
            self.dtype,
        )
        return replace(settings, window=window)

    def read(self, region: Region, *, level: int = 0, channel: int = 0, timepoint: int = 0) -> Voxels:
        """Return the (z, y, x) voxels of a region as they are now: 0 where nothing was written.

        Raises ValueError for a region outside the volume, DataError when the voxels cannot be read.
        """
        self._check(region, level, channel, timepoint)
        if region.size == 0:
            return np.empty(region.shape, dtype=self.dtype)
        return self.arrays[level].read(region, channel, timepoint)

    def build_level_region(
        self, level: int, region: Region, *, channel: int = 0, timepoint: int = 0
    ) -> list[StoredFile]:
        """Write a region of whole units of `level` (from 1) from the level before, which must exist already.

        Images are averaged, labels take the most frequent value, slab by slab to save memory. Returns files and
        raises as `write` does.
        """
        if not 1 <= level < len(self.levels):
            raise ValueError(f"{self.uri} has levels 1 to {len(self.levels) - 1} to build, not {level}")
        step = self._step(level)
        built = np.empty(region.shape, dtype=self.dtype)
        _, height, width = self.levels[level].shape
        for slab in region.split((self.layout.chunk_shape[0], height, width)):
            below = Region(product(slab.start, step), product(slab.stop, step))
            voxels = self.read(below, level=level - 1, channel=channel, timepoint=timepoint)
            built[slab.relative_to(region).slices] = self._reduce(voxels, step)
        return self.write(region, built, level=level, channel=channel, timepoint=timepoint)

    @property
    def batch_shape(self) -> Triple:
        """The voxels (z, y, x) of the finest level that make a unit of the next; a unit if there is no next."""
        return batch_shape(self.write_shape, self.layout.factors)

    def file_shape(self, level: int) -> Triple:
        """Return the voxels (z, y, x) in one file of a level: a chunk or a shard, as the array on the disk has it."""
        return spatial(self.files[level][0].file_shape, self.arrays[level].axes)

    def above(self, region: Region) -> Region:
        """Return the voxels of the next level that lie wholly in a region of the finest; none without a next one."""
        if len(self.levels) == 1:
            return Region((0, 0, 0), (0, 0, 0))
        step = self._step(1)
        start, stop = (as_triple(n // s for n, s in zip(e, step, strict=True)) for e in (region.start, region.stop))
        return Region(start, stop)

    def downsample(self, array: Voxels) -> Voxels:
        """Return the (z, y, x) voxels of the next level, `above(region)`, for a region of the finest.

        The region begins with a voxel of the next level; incomplete voxels at its end are left out.
        """
        return self._reduce(array, self._step(1))

    def _stored(self, unit: Region, level: int, channel: int, timepoint: int) -> StoredFile | None:
        """Return the file that holds a unit, None if it is empty."""
        array = channel if len(self.files[level]) > 1 else 0
        files = self.files[level][array]
        first = {"t": timepoint, "c": channel, **dict(zip("zyx", unit.start, strict=True))}
        axes = zip(self.arrays[level].axes, files.file_shape, strict=True)
        index: Index = tuple(first.get(axis, 0) // size for axis, size in axes)
        found = checksum(files.file(index))
        return None if found is None else StoredFile(level, array, index, *found)

    def _step(self, level: int) -> Triple:
        """Return the voxels (z, y, x) of the level before that become one voxel of this level."""
        return as_triple(
            b // a for a, b in zip(self.layout.factors[level - 1], self.layout.factors[level], strict=True)
        )

    def _reduce(self, array: Voxels, step: Triple) -> Voxels:
        return pyramid.mode(array, step) if self.layout.label else pyramid.mean(array, step)

    def _check(self, region: Region, level: int, channel: int, timepoint: int) -> None:
        if not (
            0 <= level < len(self.levels)
            and 0 <= channel < self.layout.channels
            and 0 <= timepoint < self.layout.timepoints
        ):
            raise ValueError(f"{self.uri} has no channel {channel} at timepoint {timepoint} in level {level}")
        check_inside(region, self.levels[level].shape, f"level {level} of {self.uri}")

    def _check_units(self, region: Region, level: int) -> None:
        sides = zip(region.start, region.stop, self.write_shape, self.levels[level].shape, strict=True)
        if any(a % unit or (b % unit and b != n) for a, b, unit, n in sides):
            raise ValueError(f"region {region.start} to {region.stop} cuts through write units of {self.write_shape}")


def create_volume(uri: str | Path, *, grid: Grid, dtype: DTypeLike, **options: Unpack[LayoutOptions]) -> VolumeWriter:
    """Create an empty pyramid, as `create_planned` does from what `plan_volume` plans."""
    return create_planned(uri, plan_volume(uri, grid=grid, dtype=dtype, **options))


def create_planned(uri: str | Path, layout: PyramidLayout, *, resume: bool = False) -> VolumeWriter:
    """Create an empty pyramid of a format by the ending of its name, in the group that the URI names.

    With `resume` the same volume may exist already, and keeps its voxels. Raises InputError when another volume
    exists or the format cannot hold this one, DataError when the disk refuses.
    """
    container, dataset, form = locate_output(uri)
    arrays = _CREATE[form](container, dataset, layout, resume=resume)
    return VolumeWriter.of(str(uri), layout, arrays)
