"""One channel at one timepoint of an existing OME-Zarr image or Zarr array: its slot.

The voxels are built in arrays of their own, with the chunks and codecs of the image. Chunks of Zarr do not know their
place, so finished files are linked into the image, and no file has two writers. An interrupted publication is
visible: the manifests, if the image has some, name the new files before they are there, and a mark in the image names
the slot.
"""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike

from teralign.errors import DataError, InputError
from teralign.files import temporary_name
from teralign.grids import Grid, Triple, as_triple, reverse_axes
from teralign.uploads import MARK
from teralign.volumes.additions import check_writable, locate_container, locked
from teralign.volumes.arrays import StoredArray, create_array, open_array, spatial
from teralign.volumes.chunk_files import ChunkFiles
from teralign.volumes.chunk_names import Index
from teralign.volumes.description import DisplaySettings, PyramidLayout
from teralign.volumes.json_values import Metadata
from teralign.volumes.manifest import Manifest, StoredFile
from teralign.volumes.ome_zarr import OmeImage
from teralign.volumes.volume import Volume, open_level
from teralign.volumes.writer import VolumeWriter
from teralign.volumes.zarr_nodes import read_node

_SPACING_TOLERANCE = 1e-3  # metadata of other programs are rounded
_ORIGIN_TOLERANCE = 0.1  # voxels


@dataclass(frozen=True)
class Slot:
    """A channel at a timepoint of an image to fill; `levels` are the image's, `group` the folder of the image."""

    uri: str
    container: Path
    group: Path
    levels: tuple[Volume, ...]
    label: bool
    timepoint: int
    channel: int
    overwrite: bool

    @classmethod
    def of(cls, uri: str | Path, slot: tuple[int, int], *, grid: Grid, overwrite: bool) -> Slot:
        """Open the image at a URI for a volume on `grid`; `slot` is (timepoint, channel). Nothing is written.

        Raises InputError where the image cannot take the slot alone.
        """
        container, inside, form = locate_container(uri)
        if form != "zarr":
            raise InputError(
                f"--slot is for images of .zarr containers; a channel of {container} is --into {container}/c1."
            )
        group = container / inside
        node = read_node(group)
        image = None if node is None or node.kind == "array" else OmeImage.declared(group, node.attributes)
        paths = (group,) if image is None else tuple(group / level for level in image.levels)
        levels = tuple(open_level(path, spacing=None if image else grid.spacing) for path in paths)
        if image is None and levels[0].grid.shape == grid.shape:  # an array has no place in space
            levels = (replace(levels[0], grid=grid),)
        timepoint, channel = slot
        timepoints, channels = levels[0].timepoints, levels[0].channels
        if not (0 <= timepoint < timepoints and 0 <= channel < channels):
            raise InputError(
                f"{uri} has {timepoints} timepoints and {channels} channels, counted from 0, and so no --slot "
                f"{timepoint},{channel}."
            )
        label = image is not None and image.metadata.is_label
        found = cls(str(uri), container, group, levels, label, timepoint, channel, overwrite)
        for array in found.arrays:
            found._check_files(array)
        check_writable(container, group, *(folder for array in found.arrays for folder in array.folders))
        found.check_empty()
        return found

    @property
    def arrays(self) -> tuple[StoredArray, ...]:
        """The arrays of the levels."""
        return tuple(level.stored for level in self.levels if level.stored is not None)

    @property
    def mark(self) -> Path:
        """The file that marks the slot as unfinished."""
        return self.group / f"{MARK}-t{self.timepoint}-c{self.channel}"

    def layout(self, grid: Grid, dtype: DTypeLike, *, images: int, label: bool) -> PyramidLayout:
        """Return the layout of the voxels to write, on `grid`, one image. Raises InputError where it does not fit."""
        finest = self.levels[0]
        if images != 1:
            raise InputError(f"--slot takes one channel at one timepoint, not {images} images; select one of them.")
        if finest.dtype != np.dtype(dtype):
            raise InputError(
                f"{self.uri} holds {finest.dtype} voxels, and not {np.dtype(dtype)}; convert them first."
            )
        if finest.grid.shape != grid.shape or not _lies_at(finest.grid, grid):
            raise InputError(f"{self.uri} has {_shown(finest.grid)}, and the volume {_shown(grid)}; they must agree.")
        grids, factors = [finest.grid], [(1, 1, 1)]
        for level in self.levels[1:]:
            factor = as_triple(np.rint(np.divide(level.grid.spacing, finest.grid.spacing)))
            whole = all(a % b == 0 for a, b in zip(factor, factors[-1], strict=True))
            if not whole or finest.grid.downsample(factor).shape != level.grid.shape:
                raise InputError(
                    f"{level.uri} is not the mean over whole voxels; a slot of {self.uri} cannot be made."
                )
            grids.append(finest.grid.downsample(factor))
            factors.append(factor)
        files = [ChunkFiles.of(array.driver, array.paths[0]) for array in self.arrays]
        unit, chunk = (spatial(s, self.arrays[0].axes) for s in (files[0].file_shape, files[0].chunk_shape))
        for array, own, size in zip(self.arrays, files, grids, strict=True):
            if not _divides(spatial(own.file_shape, array.axes), unit, size.shape):
                raise InputError(f"{array.paths[0]} has other chunks than the finest scale; give --output instead.")
        return PyramidLayout(
            levels=tuple(grids),
            factors=tuple(factors),
            dtype=finest.dtype,
            channels=1,
            timepoints=1,
            channel_names=(),
            display=(DisplaySettings(),),
            time_step=None,
            chunk_shape=chunk,
            write_shape=unit,
            label=self.label or label,
            ome_zarr="",
        )

    def create(self, folder: Path, layout: PyramidLayout) -> VolumeWriter:
        """Create arrays for the one image in `folder`, or continue with existing arrays."""
        arrays = []
        for number, array in enumerate(self.arrays):
            path = folder / f"s{number}"
            metadata: Metadata = open_array(array.driver, array.paths[0]).spec().to_json()["metadata"]
            sizes = zip(array.axes, metadata["shape"], strict=True)
            shape = [1 if axis in "tc" else size for axis, size in sizes]
            own = {name: value for name, value in metadata.items() if name != "attributes"} | {"shape": shape}
            create_array(array.driver, path, own, resume=True)
            arrays.append(StoredArray(array.driver, (path,), array.axes))
        return VolumeWriter.of(self.uri, layout, arrays)

    def check_empty(self) -> None:
        """Raise InputError if the slot holds voxels which are neither to be replaced nor the rest of such a call."""
        if self.overwrite or self.mark.exists():
            return
        where = {"timepoint": self.timepoint, "channel": self.channel}
        if not all(level.is_blank(level.grid.region, **where) for level in self.levels):
            raise InputError(
                f"{self.uri} has voxels at timepoint {self.timepoint}, channel {self.channel}; choose another "
                "--slot, or add --overwrite."
            )

    def publish(self, writer: VolumeWriter, stored: Iterable[StoredFile]) -> None:
        """Bring the finished files into the image; the same call can be repeated until it is done.

        Raises InputError when the slot has been filled meanwhile, DataError when the disk refuses.
        """
        files = list(stored)
        with locked(self.container):
            self.check_empty()
            try:
                self.mark.touch()
                for level, array in enumerate(self.arrays):
                    self._publish_level(array, writer, [file for file in files if file.level == level])
                self.mark.unlink()
            except OSError as error:
                raise DataError(f"{self.group} cannot be written: {error.strerror or error}.") from error

    def _publish_level(self, array: StoredArray, writer: VolumeWriter, stored: list[StoredFile]) -> None:
        folder = array.folders[0]
        target = ChunkFiles.of(array.driver, folder)
        manifest = Manifest.load(folder, target.counts)
        new = {self._place(array.axes, file.place): file for file in stored}
        if manifest is not None:
            for index in self._places(array, target):
                manifest.sizes[index] = manifest.crcs[index] = 0
            for index, file in new.items():
                manifest.enter(file._replace(place=index))
            manifest.save(folder)
        for index in self._places(array, target):
            path = target.file(index)
            assert isinstance(path, Path)
            if index in new:
                built = writer.files[new[index].level][0].file(tuple(new[index].place))
                assert isinstance(built, Path)
                _link(built, path)
            else:
                path.unlink(missing_ok=True)

    def _place(self, axes: str, index: Index) -> Index:
        """Return the place in the image of a file of the slot."""
        own = {"t": self.timepoint, "c": self.channel}
        return tuple(own.get(axis, i) for axis, i in zip(axes, index, strict=True))

    def _places(self, array: StoredArray, files: ChunkFiles) -> Iterator[Index]:
        """Yield the places of all files that the slot may have."""
        own = {"t": (self.timepoint,), "c": (self.channel,)}
        return itertools.product(*(own.get(axis, range(n)) for axis, n in zip(array.axes, files.counts, strict=True)))

    def _check_files(self, array: StoredArray) -> None:
        files = ChunkFiles.of(array.driver, array.paths[0])
        for axis, size, n in zip(array.axes, files.file_shape, files.shape, strict=True):
            if axis in "tc" and size > 1 and n > 1:
                what = "timepoints" if axis == "t" else "channels"
                raise InputError(
                    f"{array.paths[0]} keeps {min(size, n)} {what} in one file, so one cannot be written alone; "
                    "convert it with convert-volume."
                )
        filled = open_array(array.driver, array.paths[0]).fill_value
        if filled is not None and np.any(filled):
            raise InputError(f"{array.paths[0]} has the fill value {filled}, which is not 0; give --output instead.")


def unfinished_slots(array: Path) -> list[str]:
    """Return the slots that a call began to fill, each as "timepoint T, channel C", in the image of an array."""
    marks = {path.name for folder in (array, array.parent) for path in folder.glob(f"{MARK}-t*-c*")}
    return [f"timepoint {name.removeprefix(f'{MARK}-t').replace('-c', ', channel ')}" for name in sorted(marks)]


def _lies_at(grid: Grid, other: Grid) -> bool:
    spacing, origin = np.array(other.spacing), np.array(other.origin)
    same = np.abs(np.array(grid.spacing) - spacing) <= _SPACING_TOLERANCE * spacing
    near = np.abs(np.array(grid.origin) - origin) <= _ORIGIN_TOLERANCE * spacing
    return bool(same.all() and near.all())


def _shown(grid: Grid) -> str:
    shape = " x ".join(map(str, reverse_axes(grid.shape)))
    spacing, origin = (", ".join(f"{v:g}" for v in reverse_axes(values)) for values in (grid.spacing, grid.origin))
    return f"{shape} voxels of {spacing} µm from {origin} µm (x, y, z)"


def _divides(file: Triple, unit: Triple, shape: Triple) -> bool:
    """Return whether units of a level of `shape` share no file of `file` voxels."""
    return all(u >= n or u % f == 0 for f, u, n in zip(file, unit, shape, strict=True))


def _link(built: Path, path: Path) -> None:
    """Let `path` be the finished file `built`, by a link where the file system allows it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(path)
    try:
        os.link(built, temporary)
    except OSError:
        shutil.copy2(built, temporary)
    temporary.replace(path)
