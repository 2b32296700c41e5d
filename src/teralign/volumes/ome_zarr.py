"""OME-Zarr metadata (0.4 to 0.6): axes, units and transformations of a multiscale image, read and written.

A level's voxel i lies at group scale · (level scale · i + level translation) + group translation, axis by axis; axes
may come in any order and are told apart by type and name. https://ngff.openmicroscopy.org/0.5/
Written are 0.5 and, on request, 0.4.

In 0.6 the axes are those of the coordinate system that the levels lead to, the image's own; transformations of the
group lead from there to others, and are not used. https://ngff.openmicroscopy.org/0.6/
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from teralign.addresses import Place
from teralign.errors import InputError
from teralign.grids import Floats, FloatTriple, Triple, as_float_triple
from teralign.volumes.arrays import StoredArray, create_array
from teralign.volumes.description import DisplaySettings, PyramidLayout, axes_by_position
from teralign.volumes.files import write_json
from teralign.volumes.units import micrometres, seconds

_VERSION = re.compile(r"0\.[1-5]|0\.6(\.?(dev|rc)\d+)?")
_AXIS_UNKNOWN = "-"
_DRIVERS = {"0.4": "zarr", "0.5": "zarr3"}
_GZIP_LEVEL = 1
_WINDOW = ("min", "max", "start", "end")
_COLOURS = ("FFFFFF", "00FF00", "FF00FF", "00FFFF", "FFFF00", "FF0000", "0000FF")


@dataclass(frozen=True)
class Multiscale:
    """A multiscale image: the group that holds it, and its metadata."""

    group: Place
    content: Mapping[str, Any]
    channel_names: tuple[str, ...]
    display: tuple[DisplaySettings, ...]

    @property
    def levels(self) -> tuple[str, ...]:
        """The paths of the levels in the group, finest first."""
        return tuple(str(d["path"]) for d in self._datasets)

    def axes(self, ndim: int) -> str:
        """One letter for each axis of the arrays: t, c, z, y, x, or - for another one.

        Raises InputError unless there are `ndim` axes, three of them of space.
        """
        declared = self._declared_axes
        if declared is None:
            return axes_by_position(str(self.group), ndim)
        names = [_axis(a) for a in declared]
        space = [name for name, kind in names if kind == "space"]
        if len(space) < 3:
            raise InputError(f"{self.group} has {len(space)} axes of space; only 3-D volumes can be aligned.")
        if len(names) != ndim or len(space) > 3:
            raise InputError(f"{self.group} declares {len(names)} axes for arrays of {ndim}; repair its metadata.")
        letters = {name: name for name in space} if set(space) == set("zyx") else dict(zip(space, "zyx", strict=True))
        other = {"time": "t", "channel": "c"}
        return "".join(letters[name] if kind == "space" else other.get(kind, _AXIS_UNKNOWN) for name, kind in names)

    def geometry(self, level: str, axes: str) -> tuple[FloatTriple | None, FloatTriple]:
        """Spacing and origin (z, y, x) of a level in µm; when the spacing is not known, the origin is in voxels.

        A scale of 1, 1, 1 without units is what writers put that do not know it. Axes without a unit are in µm.
        """
        order = [axes.index(axis) for axis in "zyx"]
        scale, translation = (values[order] for values in self._transform(level, len(axes)))
        if min(scale) <= 0:
            raise InputError(f"{self.group} has a scale that is not positive for {level}; repair its metadata.")
        units = self._units(order)
        finest, _ = self._transform(self.levels[0], len(axes))
        unsaid = all(unit is None for unit in units) and bool(np.all(finest[order] == 1))
        sizes = [1.0 if unit is None else micrometres(unit) for unit in units]
        if unsaid or None in sizes:
            return None, as_float_triple(translation / scale)
        return as_float_triple(scale * np.array(sizes)), as_float_triple(translation * np.array(sizes))

    def time_step(self, level: str, axes: str) -> float | None:
        """The seconds between timepoints, None where nobody says it, which a scale of 1 without a unit is too."""
        if "t" not in axes:
            return None
        time = axes.index("t")
        step = float(self._transform(level, len(axes))[0][time])
        [unit] = self._units([time])
        if unit is None:
            return step if step != 1 else None
        size = seconds(unit)
        return None if size is None else step * size

    @property
    def _datasets(self) -> Sequence[Mapping[str, Any]]:
        datasets: Sequence[Mapping[str, Any]] = self.content["datasets"]
        return datasets

    @property
    def _declared_axes(self) -> Sequence[str | Mapping[str, Any]] | None:
        """The axes as they are declared; None where they are not."""
        systems = self.content.get("coordinateSystems")
        if not systems:
            axes: Sequence[str | Mapping[str, Any]] | None = self.content.get("axes")
            return axes
        steps = self._datasets[0].get("coordinateTransformations") or [{}]
        output = steps[-1].get("output")
        name = output.get("name") if isinstance(output, Mapping) else output
        found = [system["axes"] for system in systems if system.get("name") == name and system.get("axes")]
        if len(found) != 1:
            raise InputError(
                f"{self.group} has no coordinate system {name} that its levels lead to; repair its metadata."
            )
        own: Sequence[str | Mapping[str, Any]] = found[0]
        return own

    def _units(self, order: Sequence[int]) -> list[str | None]:
        declared = self._declared_axes or []
        named = [a.get("unit") if isinstance(a, Mapping) else None for a in declared]
        return [named[i] if i < len(named) else None for i in order]

    def _transform(self, level: str, ndim: int) -> tuple[Floats, Floats]:
        """Scale and translation of a level along all axes, the group's applied after its own."""
        own = next(d for d in self._datasets if str(d["path"]) == level)
        scale, translation = np.ones(ndim), np.zeros(ndim)
        whole = () if "coordinateSystems" in self.content else self.content.get("coordinateTransformations", ())
        for step in _flattened((*own.get("coordinateTransformations", ()), *whole)):
            kind = str(step.get("type"))
            values = np.asarray(step.get(kind, 1.0 if kind == "identity" else None), dtype=np.float64)
            if kind not in ("scale", "translation", "identity") or (kind != "identity" and values.shape != (ndim,)):
                raise InputError(
                    f"{self.group} has a transformation of {level} that is no scale or translation of {ndim}."
                )
            if kind == "scale":
                scale, translation = scale * values, translation * values
            elif kind == "translation":
                translation = translation + values
        return scale, translation


def multiscale(group: Place, attributes: Mapping[str, Any]) -> Multiscale | None:
    """The (first) multiscale image that a group's attributes declare, None for none.

    Raises InputError for a version that cannot be read.
    """
    ome = attributes.get("ome", attributes)
    declared = ome.get("multiscales")
    if not declared:
        return None
    content = declared[0]
    version = str(ome.get("version", content.get("version", "0.4")))
    if not _VERSION.fullmatch(version):
        raise InputError(f"{group} is OME-Zarr {version}; versions up to 0.6 can be read.")
    if not content.get("datasets"):
        raise InputError(f"{group} declares an image without levels; repair its metadata.")
    channels = (ome.get("omero") or {}).get("channels") or ()
    names = tuple(str(c.get("label", i)) for i, c in enumerate(channels))
    return Multiscale(group, content, names, tuple(_display_settings(c) for c in channels))


def _display_settings(channel: Mapping[str, Any]) -> DisplaySettings:
    """How omero says that a channel is shown, without what it says wrongly."""
    colour, window = str(channel.get("color", "")), channel.get("window")
    edges = [window.get(edge) for edge in _WINDOW] if isinstance(window, Mapping) else []
    numbers = [float(edge) for edge in edges if isinstance(edge, int | float)]
    return DisplaySettings(
        colour.upper() if re.fullmatch(r"[0-9A-Fa-f]{6}", colour) else None,
        (numbers[0], numbers[1], numbers[2], numbers[3]) if len(numbers) == len(_WINDOW) else None,
    )


def _flattened(steps: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """The transformations one after the other, those in a sequence included."""
    for step in steps:
        if step.get("type") == "sequence":
            yield from _flattened(step.get("transformations", ()))
        else:
            yield step


def _axis(declared: str | Mapping[str, Any]) -> tuple[str, str]:
    """Name and type of an axis; the type is guessed from the name where it is not said."""
    content = {"name": declared} if isinstance(declared, str) else declared
    name = str(content.get("name", "")).lower()
    guess = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}.get(name, "")
    return name, str(content.get("type") or guess)


def create(container: Path, dataset: str, layout: PyramidLayout, *, resume: bool) -> tuple[StoredArray, ...]:
    """Create the pyramid s0, s1, … in the group `dataset` ("" for the root): 0.5 in Zarr v3, or 0.4 in v2.

    Gives the array of each level. Every chunk carries a checksum. Raises InputError when other arrays are there,
    DataError when the disk refuses.
    """
    group, driver = container / dataset, _DRIVERS[layout.ome_zarr]
    array_metadata = _zarr2_metadata if driver == "zarr" else _zarr3_metadata
    stored = []
    for level, grid in enumerate(layout.levels):
        create_array(driver, group / f"s{level}", array_metadata(layout, grid.shape), resume=resume)
        stored.append(StoredArray(driver, (group / f"s{level}",), "tczyx"))
    write_group = _write_zarr2_group if driver == "zarr" else _write_zarr3_group
    for folder in (group, *(p for p in group.parents if p.is_relative_to(container))):
        write_group(folder, _image_metadata(layout, container.stem) if folder == group else {})
    return tuple(stored)


def holds_shards(version: str) -> bool:
    """Whether chunks can lie in shards in this version of OME-Zarr."""
    return _DRIVERS[version] == "zarr3"


def _write_zarr3_group(folder: Path, image: Mapping[str, Any]) -> None:
    """Write the metadata of a group of Zarr v3, which may be no image."""
    attributes = {"ome": {"version": "0.5", **image}} if image else {}
    write_json(folder / "zarr.json", {"zarr_format": 3, "node_type": "group", "attributes": attributes})


def _write_zarr2_group(folder: Path, image: Mapping[str, Any]) -> None:
    """Write the metadata of a group of Zarr v2, where each part of an image's says which version it is of."""
    parts = {
        name: [{"version": "0.4", **p} for p in part] if isinstance(part, list) else {"version": "0.4", **part}
        for name, part in image.items()
    }
    write_json(folder / ".zgroup", {"zarr_format": 2})
    write_json(folder / ".zattrs", parts)


def _zarr2_metadata(layout: PyramidLayout, shape: Triple) -> dict[str, Any]:
    """The metadata of an array: gzip, since no faster codec of Zarr v2 that tensorstore writes has a checksum."""
    return {
        "shape": [layout.timepoints, layout.channels, *shape],
        "chunks": [1, 1, *layout.write_shape],
        "dtype": layout.dtype.newbyteorder("<").str,
        "order": "C",
        "fill_value": False if layout.dtype.kind == "b" else 0,
        "filters": None,
        "compressor": {"id": "gzip", "level": _GZIP_LEVEL},
        "dimension_separator": "/",
    }


def _zarr3_metadata(layout: PyramidLayout, shape: Triple) -> dict[str, Any]:
    little = {"name": "bytes", "configuration": {"endian": "little"}}
    blosc = {"name": "blosc", "configuration": {"cname": "zstd", "clevel": 3, "shuffle": "shuffle"}}
    codecs: list[dict[str, Any]] = [little, blosc, {"name": "crc32c"}]
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


def _image_metadata(layout: PyramidLayout, name: str) -> dict[str, Any]:
    time = {"name": "t", "type": "time"} | ({"unit": "second"} if layout.time_step is not None else {})
    step = 1.0 if layout.time_step is None else layout.time_step
    axes = [time, {"name": "c", "type": "channel"}]
    axes += [{"name": axis, "type": "space", "unit": "micrometer"} for axis in "zyx"]
    datasets = [
        {
            "path": f"s{level}",
            "coordinateTransformations": [
                {"type": "scale", "scale": [step, 1.0, *grid.spacing]},
                {"type": "translation", "translation": [0.0, 0.0, *grid.origin]},
            ],
        }
        for level, grid in enumerate(layout.levels)
    ]
    image = {"name": name, "type": "mode" if layout.label else "mean", "axes": axes, "datasets": datasets}
    metadata: dict[str, Any] = {"multiscales": [image]}
    if layout.label:
        metadata["image-label"] = {}
    elif layout.channel_names:
        metadata["omero"] = {"channels": _rendering(layout)}
    return metadata


def _rendering(layout: PyramidLayout) -> list[dict[str, Any]]:
    """How viewers show the channels at first: else each in a colour of its own, over the whole range of the type."""
    low, high = (0.0, 1.0) if layout.dtype.kind in "bf" else (np.iinfo(layout.dtype).min, np.iinfo(layout.dtype).max)
    whole = (float(low), float(high), float(low), float(high))
    return [
        {
            "label": name,
            "color": settings.colour or _COLOURS[i % len(_COLOURS)],
            "active": True,
            "window": dict(zip(_WINDOW, settings.window or whole, strict=True)),
        }
        for i, (name, settings) in enumerate(zip(layout.channel_names, layout.display, strict=True))
    ]
