"""OME-Zarr images as volumes: axes, spacing and time from their metadata, and new pyramids.

Axes may come in any order and are identified by type and name. New pyramids are OME-Zarr 0.5 or, on request, 0.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from teralign import ome
from teralign.addresses import Place
from teralign.errors import DataError, InputError
from teralign.grids import Floats, FloatTriple, Triple, as_float_triple
from teralign.volumes.arrays import GZIP_LEVEL, StoredArray, create_array
from teralign.volumes.description import DisplaySettings, PyramidLayout, StatedSpacing, axes_by_position
from teralign.volumes.files import folders_around
from teralign.volumes.json_values import Metadata
from teralign.volumes.orientation import Anatomical
from teralign.volumes.spacing import note_micrometres
from teralign.volumes.units import is_blank, is_size, micrometres, seconds, unknown_unit
from teralign.volumes.windows import whole_range

_AXIS_UNKNOWN = "-"
_DRIVERS = {"0.4": "zarr", "0.5": "zarr3"}
_COLOURS = ("FFFFFF", "00FF00", "FF00FF", "00FFFF", "FFFF00", "FF0000", "0000FF")


@dataclass(frozen=True)
class OmeImage:
    """A multiscale image: the group that holds it, and its metadata."""

    group: Place
    metadata: ome.Multiscale

    @classmethod
    def declared(cls, group: Place, attributes: Metadata) -> OmeImage | None:
        """Return the image that the attributes of a group declare, None if none; InputError for bad metadata."""
        metadata = ome.read_multiscale(group, attributes)
        return None if metadata is None else cls(group, metadata)

    @property
    def levels(self) -> tuple[str, ...]:
        """The paths of the levels in the group, finest first."""
        return self.metadata.paths

    @property
    def channel_names(self) -> tuple[str, ...]:
        """The names of the channels, () if the metadata give none."""
        return tuple(channel.name for channel in self.metadata.channels)

    @property
    def display(self) -> tuple[DisplaySettings, ...]:
        """The initial display of the channels in viewers, () if the metadata lack it."""
        return tuple(DisplaySettings(channel.colour, channel.window) for channel in self.metadata.channels)

    def axes(self, ndim: int) -> str:
        """Return one letter for each axis of the arrays: t, c, z, y, x, or - for another one.

        Two axes of space are y and x. Raises InputError unless there are `ndim` axes, two or three of them of space.
        """
        axes = self.metadata.axes
        if axes is None:
            return axes_by_position(str(self.group), ndim)
        space = [axis.name for axis in axes if axis.kind == "space"]
        if len(space) < 2:
            raise InputError(f"{self.group} has {len(space)} axes of space; only 3-D volumes can be aligned.")
        if len(axes) != ndim or len(space) > 3:
            raise InputError(f"{self.group} declares {len(axes)} axes for arrays of {ndim}; repair its metadata.")
        names = "zyx"[-len(space) :]
        letters = {name: name for name in space} if set(space) == set(names) else dict(zip(space, names, strict=True))
        other = {"time": "t", "channel": "c"}
        return "".join(letters[a.name] if a.kind == "space" else other.get(a.kind, _AXIS_UNKNOWN) for a in axes)

    def geometry(self, level: str, axes: str) -> tuple[StatedSpacing | None, FloatTriple, str]:
        """Return spacing, origin (z, y, x) and the remark on the spacing of a level, as in a `Description`.

        Writers that do not know the spacing put a scale of 1, 1, 1 without units, or 1 without a unit along the axes
        that they do not know. Other axes without a unit are in µm. A level without a scale has no spacing.
        """
        scale, translation = self._of_space(level, axes)
        finest, _ = self._of_space(self.levels[0], axes)
        declared = (self._unit(axes.find(axis)) for axis in "zyx")
        units = [None if unit is None or is_blank(unit) else unit for unit in declared]
        guessed = any(units) or all(size in (1.0, None) for size in finest)
        scaled = any(step.kind in ("scale", "identity") for step in self.metadata.level(level).steps)
        given = [
            scaled and not (guessed and unit is None and size in (1.0, None))
            for unit, size in zip(units, finest, strict=True)
        ]
        if any(known and unit is None for known, unit in zip(given, units, strict=True)):
            note_micrometres(str(self.group))
        lengths = [micrometres(unit or "µm") if known else None for known, unit in zip(given, units, strict=True)]
        spacing = [
            None if size is None or length is None else size * length
            for size, length in zip(scale, lengths, strict=True)
        ]
        origin = [
            0.0 if not is_size(size) else shift / size if length is None else shift * length
            for shift, size, length in zip(translation, scale, lengths, strict=True)
        ]
        z, y, x = spacing
        return (z, y, x) if any(given) else None, as_float_triple(origin), unknown_unit(*filter(None, units))

    def relative_spacing(self, level: str, axes: str) -> FloatTriple | None:
        """Return the voxel size (z, y, x) of a level in the units of the axes, None where no level has a scale."""
        if not any(step.kind == "scale" for stored in self.metadata.levels for step in stored.steps):
            return None  # of versions before 0.4
        scale, _ = self._of_space(level, axes)
        return as_float_triple(1.0 if size is None else size for size in scale)

    def anatomical(self, axes: str) -> Anatomical:
        """Return the anatomical orientations of the axes z, y, x, as in `Directions`."""
        declared = self.metadata.axes or ()
        z, y, x = (declared[axes.index(axis)].orientation if axis in axes and declared else None for axis in "zyx")
        return z, y, x

    def time_step(self, level: str, axes: str) -> float | None:
        """Return the seconds between timepoints, None if not given, as a scale of 1 without a unit is not."""
        if "t" not in axes:
            return None
        time = axes.index("t")
        step = float(self._transform(level, len(axes))[0][time])
        unit = self._unit(time)
        if unit is None:
            return step if step != 1 else None
        size = seconds(unit)
        return None if size is None else step * size

    def _of_space(self, level: str, axes: str) -> tuple[list[float | None], list[float]]:
        """Return scale and translation of a level along z, y, x: None and 0 along an axis that the arrays lack."""
        scale, translation = (values.tolist() for values in self._transform(level, len(axes)))
        order = [axes.find(axis) for axis in "zyx"]
        return [scale[i] if i >= 0 else None for i in order], [translation[i] if i >= 0 else 0.0 for i in order]

    def _unit(self, axis: int) -> str | None:
        units = [declared.unit for declared in self.metadata.axes or ()]
        return units[axis] if 0 <= axis < len(units) else None

    def _transform(self, level: str, ndim: int) -> tuple[Floats, Floats]:
        """Return scale and translation of a level along all axes."""
        try:
            return self.metadata.level(level).transform(ndim)
        except ValueError as error:
            raise InputError(
                f"{self.group} has a transformation of {level} that is no scale or translation of {ndim}."
            ) from error


def create(container: Path, dataset: str, layout: PyramidLayout, *, resume: bool) -> tuple[StoredArray, ...]:
    """Create the pyramid s0, s1, … in the group `dataset` ("" for the root): 0.5 in Zarr v3, or 0.4 in v2.

    Returns the array of each level. Every chunk carries a checksum. Raises InputError when other arrays are there,
    DataError when the disk refuses.
    """
    group, driver = container / dataset, _DRIVERS[layout.ome_zarr]
    array_metadata = _zarr2_metadata if driver == "zarr" else _zarr3_metadata
    stored = []
    for level, grid in enumerate(layout.levels):
        create_array(driver, group / f"s{level}", array_metadata(layout, grid.shape), resume=resume)
        stored.append(StoredArray(driver, (group / f"s{level}",), "tczyx"))
    write_metadata(container, dataset, layout)
    return tuple(stored)


def write_metadata(container: Path, dataset: str, layout: PyramidLayout) -> None:
    """Write the metadata of the group `dataset` and of the groups around it.

    Raises DataError when the disk refuses.
    """
    group = container / dataset
    image = ome.image_attributes(_image(layout, container.stem), layout.ome_zarr)
    for folder in folders_around(group, container):
        try:
            ome.write_group(folder, image if folder == group else {}, layout.ome_zarr)
        except OSError as error:
            raise DataError(f"{folder} cannot be written: {error.strerror or error}.") from error


def holds_shards(version: str) -> bool:
    """Return whether chunks can lie in shards in this version of OME-Zarr."""
    return _DRIVERS[version] == "zarr3"


def _zarr2_metadata(layout: PyramidLayout, shape: Triple) -> Metadata:
    """Return the metadata of an array: gzip, as no faster codec of Zarr v2 that tensorstore writes has a checksum."""
    return {
        "shape": [layout.timepoints, layout.channels, *shape],
        "chunks": [1, 1, *layout.write_shape],
        "dtype": layout.dtype.newbyteorder("<").str,
        "order": "C",
        "fill_value": False if layout.dtype.kind == "b" else 0,
        "filters": None,
        "compressor": {"id": "gzip", "level": GZIP_LEVEL},
        "dimension_separator": "/",
    }


def _zarr3_metadata(layout: PyramidLayout, shape: Triple) -> Metadata:
    little = {"name": "bytes", "configuration": {"endian": "little"}}
    blosc = {"name": "blosc", "configuration": {"cname": "zstd", "clevel": 3, "shuffle": "shuffle"}}
    codecs: list[Metadata] = [little, blosc, {"name": "crc32c"}]
    if layout.write_shape != layout.chunk_shape:
        shard = {
            "chunk_shape": [1, 1, *layout.chunk_shape],
            "codecs": codecs,
            "index_codecs": [little, {"name": "crc32c"}],
        }
        codecs = [{"name": "sharding_indexed", "configuration": shard}]
    return {
        "shape": [layout.timepoints, layout.channels, *shape],
        "data_type": layout.dtype.name,
        "dimension_names": list("tczyx"),
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [1, 1, *layout.write_shape]}},
        "codecs": codecs,
    }


def _image(layout: PyramidLayout, name: str) -> ome.Multiscale:
    """Return the metadata of a pyramid of axes t, c, z, y, x."""
    time = ome.Axis("t", "time", "second" if layout.time_step is not None else None)
    step = 1.0 if layout.time_step is None else layout.time_step
    space = [
        ome.Axis(axis, "space", "micrometer", orientation=orientation)
        for axis, orientation in zip("zyx", layout.directions.anatomical, strict=True)
    ]
    names = layout.channel_names
    return ome.Multiscale(
        name=name,
        method="mode" if layout.label else "mean",
        axes=(time, ome.Axis("c", "channel"), *space),
        levels=tuple(
            ome.Level.placed(f"s{level}", (step, 1.0, *grid.spacing), (0.0, 0.0, *grid.origin))
            for level, grid in enumerate(layout.levels)
        ),
        channels=complete_channels(names, layout.display, layout.dtype) if names else (),
        is_label=layout.label,
    )


def complete_channels(
    names: Sequence[str], display: Sequence[DisplaySettings], dtype: np.dtype[np.generic]
) -> tuple[ome.Channel, ...]:
    """Return channels as viewers show them: by default each in a colour of its own, over the whole range."""
    return tuple(
        ome.Channel(name, settings.colour or _COLOURS[i % len(_COLOURS)], settings.window or whole_range(dtype))
        for i, (name, settings) in enumerate(zip(names, display, strict=True))
    )
