"""Coarser levels for an existing image: arrays like that of its finest level, and the metadata that name them.

A level has the format, type, axes, chunks and codecs of the finest one. Its metadata follow from those of the finest
one, in whatever units they are: a voxel of a level is the mean of f voxels, so its scale is f times as large and its
position (f − 1)/2 fine voxels further on.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from teralign import ome
from teralign.errors import InputError
from teralign.grids import Triple, reverse_axes
from teralign.volumes.arrays import StoredArray, create_array, open_array, spatial
from teralign.volumes.chunk_files import ChunkFiles
from teralign.volumes.description import DisplaySettings, PyramidLayout
from teralign.volumes.files import read_json, write_json
from teralign.volumes.json_values import Metadata
from teralign.volumes.ome_zarr import OmeImage, complete_channels
from teralign.volumes.pyramid import plan_levels
from teralign.volumes.uri import split_uri
from teralign.volumes.volume import Volume
from teralign.volumes.writer import VolumeWriter
from teralign.volumes.zarr_nodes import change_attributes, drop_consolidated, read_node

_N5_ATTRIBUTES = "attributes.json"
_MAX_LEVELS = 64


@dataclass(frozen=True)
class Extension:
    """An image that gets coarser levels: its finest level, and `prefix`, with which the names of all levels begin.

    `image` is its OME-Zarr metadata, None for N5.
    """

    volume: Volume
    stored: StoredArray
    prefix: str
    image: OmeImage | None

    @classmethod
    def of(cls, volume: Volume) -> Extension:
        """Return the extension of an image with this finest level. Raises InputError when it cannot have levels."""
        stored = volume.stored
        if stored is None or stored.scale:
            raise InputError(f"{volume.uri} is one image and can hold no scales; convert it with convert-volume.")
        if not stored.folders:
            raise InputError(
                f"{volume.uri} is an address, and scales are added on disks only; convert-volume writes a volume "
                "with scales, to s3:// too."
            )
        path = stored.folders[0]
        match = re.fullmatch(r"([^\d]*)0", path.name)
        image = None if stored.driver == "n5" else _image(path.parent)
        finest = (
            match[1] == "s" if match and stored.driver == "n5" else image is not None and image.levels[0] == path.name
        )
        if match is None or not finest:
            raise InputError(
                f"{path} is not the finest scale of an OME-Zarr image, nor a dataset s0 of an N5 group; "
                "convert-volume makes an image with scales of it."
            )
        return cls(volume, stored, match[1], image)

    @property
    def container(self) -> Path:
        """The container of the image."""
        return split_uri(Path(self.volume.uri))[0]

    @property
    def group(self) -> Path:
        """The folder around the finest level, which has the metadata of an OME-Zarr image."""
        return self.stored.folders[0].parent

    @property
    def shapes(self) -> tuple[Triple, Triple]:
        """The shapes (z, y, x) of a write unit and of a chunk, those of the finest level."""
        files = ChunkFiles.of(self.stored.driver, self.stored.paths[0])
        return spatial(files.file_shape, self.stored.axes), spatial(files.chunk_shape, self.stored.axes)

    @property
    def existing(self) -> list[Path]:
        """The folders of the coarser levels that exist already."""
        named = [self.group / level for level in self.image.levels[1:]] if self.image is not None else []
        usual = [self.place(path, level) for path in self.stored.folders for level in range(1, _MAX_LEVELS)]
        return sorted(folder for folder in {*named, *usual} if folder.is_dir())

    def create(self, folder: Path, *, levels: int | None, label: bool) -> VolumeWriter:
        """Create the arrays of the coarser levels below `folder`, or continue with existing arrays.

        The writer's finest level is the image's own, to be read only; `levels` counts it, and None
        makes as many as bring the longest side to 256 voxels.
        """
        grids, factors = plan_levels(self.volume.grid, levels)
        arrays = [self.stored]
        for level, (grid, factor) in enumerate(zip(grids, factors, strict=True)):
            if level:
                paths = tuple(self.built(folder, path, level) for path in self.stored.folders)
                for path, finest in zip(paths, self.stored.folders, strict=True):
                    metadata = self._metadata(finest, grid.shape, factor)
                    create_array(self.stored.driver, path, metadata, resume=True)
                arrays.append(StoredArray(self.stored.driver, paths, self.stored.axes))
        unit, chunk = self.shapes
        layout = PyramidLayout(
            levels=grids,
            factors=factors,
            dtype=self.volume.dtype,
            channels=self.volume.channels,
            timepoints=self.volume.timepoints,
            channel_names=self.volume.channel_names,
            display=self.volume.display,
            time_step=self.volume.time_step,
            chunk_shape=chunk,
            write_shape=unit,
            label=label,
            ome_zarr="",
        )
        return VolumeWriter.of(self.volume.uri, layout, arrays)

    def built(self, folder: Path, finest: Path, level: int) -> Path:
        """Return the folder below `folder` in which the level of the array `finest` is built."""
        return folder / self.place(finest, level).relative_to(self.container)

    def place(self, finest: Path, level: int) -> Path:
        """Return the final folder of the level of the array `finest`."""
        return finest.with_name(f"{self.prefix}{level}")

    def publish(self, folder: Path, writer: VolumeWriter, move: Callable[[Path, Path], None]) -> None:
        """Bring the levels built below `folder` to their places by `move`, and name them in the metadata last.

        Existing levels are removed first from the metadata: levels that the metadata name exist at any time.
        """
        display = writer.display() if self._needs_windows(writer.layout) else ()
        self._declare(writer.layout.factors[:1])
        for path in self.existing:
            shutil.rmtree(path)
        for level in range(1, len(writer.levels)):
            for finest in self.stored.folders:
                move(self.built(folder, finest, level), self.place(finest, level))
        self._declare(writer.layout.factors, display)

    def _needs_windows(self, layout: PyramidLayout) -> bool:
        """Return whether viewers find no display window for some channel of an OME-Zarr image of light."""
        if self.image is None or self.image.metadata.is_label or layout.label:
            return False
        named = len(self.image.metadata.channels)
        return named in (0, layout.channels) and not all(settings.window for settings in layout.display)

    def _metadata(self, finest: Path, shape: Triple, factors: Triple) -> Metadata:
        """Return the metadata of a level: those of the finest with another shape and, in N5, another position."""
        metadata: Metadata = open_array(self.stored.driver, finest).spec().to_json()["metadata"]
        space = dict(zip("zyx", shape, strict=True))
        key = "dimensions" if self.stored.driver == "n5" else "shape"
        sizes = zip(self.stored.axes, metadata[key], strict=True)
        metadata = metadata | {key: [space.get(axis, size) for axis, size in sizes]}
        if self.stored.driver == "n5":
            return _n5_placed(metadata, factors)
        return {name: value for name, value in metadata.items() if name != "attributes"}  # they may hold positions

    def _declare(self, factors: Sequence[Triple], display: Sequence[DisplaySettings] = ()) -> None:
        """Name the levels of these factors (z, y, x) in the metadata of the image, and no others.

        Channels of an OME-Zarr image that lack a window get that of `display`, if it is given.
        """
        if self.image is None:
            for group in {path.parent for path in self.stored.folders}:
                attributes = read_json(group / _N5_ATTRIBUTES)
                write_json(group / _N5_ATTRIBUTES, attributes | {"scales": [reverse_axes(f) for f in factors]})
            return
        by_axis = [dict(zip("zyx", factor, strict=True)) for factor in factors]
        sizes = [[factor.get(axis, 1) for axis in self.stored.axes] for factor in by_axis]
        levels = {f"{self.prefix}{level}": sizes[level] for level in range(1, len(sizes))}
        change_attributes(self.group, lambda attributes: ome.with_levels(attributes, levels))
        if display:
            channels = complete_channels(self.volume.channel_names, display, self.volume.dtype)
            change_attributes(self.group, lambda attributes: ome.with_windows(attributes, channels))
        drop_consolidated(self.group, self.container)


def _image(group: Path) -> OmeImage | None:
    node = read_node(group)
    return None if node is None or node.kind == "array" else OmeImage.declared(group, node.attributes)


def _n5_placed(attributes: Metadata, factors: Triple) -> Metadata:
    """Return the attributes of an N5 dataset downsampled by `factors` (z, y, x), in the conventions of the finest."""
    step = reverse_axes(factors)
    own = attributes.get("downsamplingFactors", (1, 1, 1))
    placed = {**attributes, "downsamplingFactors": [a * b for a, b in zip(own, step, strict=True)]}
    if "transform" in attributes:
        cosem = attributes["transform"]
        by_axis = dict(zip("zyx", factors, strict=True))
        sizes = [by_axis[str(axis)] for axis in cosem["axes"]]
        columns = list(zip(cosem["scale"], cosem["translate"], sizes, strict=True))
        placed["transform"] = {
            **cosem,
            "scale": [scale * f for scale, _, f in columns],
            "translate": [shift + scale * (f - 1) / 2 for scale, shift, f in columns],
        }
    return placed
