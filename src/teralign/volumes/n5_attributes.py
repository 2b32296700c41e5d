"""The attributes of N5 datasets: axes, voxel size and place, in the conventions of many programs.

N5 metadata are in the order of `dimensions`, x first. Axes are named by `axes` in this order, by COSEM's `transform`
in the order of C, or by the counts of channels, slices and frames that n5-ij writes for ImageJ; else they are x, y,
z, c, t.

The voxel size is `pixelResolution` (a list in µm, or {dimensions, unit}), `resolution` with `units` or n5-ij's
`pixelWidth`, times `downsamplingFactors`; of the dataset itself, else of a group around it, whose `scales` then give
the factors of the datasets s0, s1, …. COSEM's `transform` gives scale and position outright, and comes first.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from teralign.addresses import Place
from teralign.errors import InputError
from teralign.grids import FloatTriple, reverse_axes
from teralign.results import Json
from teralign.volumes.description import StatedSpacing, axes_by_name, axes_by_position
from teralign.volumes.json_values import JsonObject, as_list, as_number, as_object
from teralign.volumes.spacing import note_micrometres
from teralign.volumes.units import is_blank, is_size, micrometres, unknown_unit

T = TypeVar("T")

ATTRIBUTES = "attributes.json"
"""The file of a dataset's or a group's attributes."""

_LONG_NAMES = {"channel": "c", "time": "t"}
_IMAGEJ_AXES = {"c": "numChannels", "z": "numSlices", "t": "numFrames"}


@dataclass(frozen=True)
class Attributes:
    """The attributes of a dataset or a group, and their file."""

    file: Place
    values: JsonObject

    @property
    def name(self) -> str:
        """The name of the dataset or the group."""
        return self.file.parent.name


@dataclass(frozen=True)
class DeclaredGeometry:
    """Size and place of voxels, as in a `Description`."""

    spacing: StatedSpacing | None
    origin: FloatTriple = (0.0, 0.0, 0.0)
    note: str = ""
    relative_spacing: FloatTriple | None = None
    time_step: float | None = None


def read_axes(own: Attributes, shape: Sequence[int]) -> str:
    """Return one letter for each axis of a dataset of this shape, x first where they are not named.

    Raises InputError for fewer than three dimensions, or more than five.
    """
    for names in (_declared(own), _of_transform(own), _of_imagej(own, shape)):
        found = axes_by_name(str(own.file.parent), names, len(shape)) if names else None
        if found is not None:
            return found
    return axes_by_position(str(own.file.parent), len(shape))[::-1]


def read_geometry(attributes: Sequence[Attributes], axes: str) -> DeclaredGeometry:
    """Return the geometry that the attributes of a dataset give, and those of the groups around it, inside out."""
    own, *around = attributes
    if "transform" in own.values:
        return _cosem(own)
    if "pixelWidth" in own.values:
        return _imagej(own)
    base = _resolution(own, axes)
    factors = _numbers(own, "downsamplingFactors", axes) if "downsamplingFactors" in own.values else None
    if base is not None:
        factors = factors or (1.0, 1.0, 1.0)
    else:
        factors = factors or _inherited_factors(own.name, around)
        base = next((found for found in (_resolution(group, axes) for group in around) if found is not None), None)
    if factors is None:
        return DeclaredGeometry(None)
    sizes, note = base or ((None, None, None), "")
    spacing = [None if size is None else size * f for size, f in zip(sizes, factors, strict=True)]
    origin = [b * (f - 1) / 2 if is_size(b) else (f - 1) / (2 * f) for b, f in zip(sizes, factors, strict=True)]
    return DeclaredGeometry(_zyx(spacing), _zyx(origin), note, _zyx(factors))


def _declared(own: Attributes) -> list[str]:
    """Return the names in `axes`: texts, or objects with a name."""
    names = [
        as_object(axis).get("name", as_object(axis).get("label")) if isinstance(axis, dict) else axis
        for axis in as_list(own.values.get("axes"))
    ]
    return [_LONG_NAMES.get(str(name).lower(), str(name)) for name in names]


def _of_transform(own: Attributes) -> list[str]:
    """Return the axes of COSEM's transform, which are in the order of C unless it says F."""
    transform = as_object(own.values.get("transform"))
    names = [str(axis) for axis in as_list(transform.get("axes"))]
    if len(names) == 3 and "ordering" not in transform:
        return []  # of three axes the order is often written the other way round, and x comes first all the same
    return names if transform.get("ordering") == "F" else names[::-1]


def _of_imagej(own: Attributes, shape: Sequence[int]) -> list[str]:
    """Return the axes of an ImageJ stack, which has x, y, c, z and t, without those of size 1."""
    counts = {axis: own.values.get(key) for axis, key in _IMAGEJ_AXES.items()}
    if None in counts.values():
        return []
    kept = [axis for axis, count in counts.items() if count != 1]
    sizes = [counts[axis] for axis in kept]
    return ["x", "y", *kept] if list(shape[2:]) == sizes else []


def _resolution(own: Attributes, axes: str) -> tuple[StatedSpacing, str] | None:
    """Return the voxel size (x, y, z) in µm that attributes give, and a remark; None where they give none."""
    key = "pixelResolution" if "pixelResolution" in own.values else "resolution"
    value, units = own.values.get(key), own.values.get("units", "um" if key == "pixelResolution" else "")
    if isinstance(value, dict):
        value, units = as_object(value).get("dimensions"), as_object(value).get("unit", "um")
    if value is None:
        return None
    sizes = _sizes(own, value, axes)
    listed = units if isinstance(units, list) else [units] * 3
    names = _by_axis(["" if unit is None else str(unit) for unit in listed], axes)
    if any(map(is_blank, names)):
        note_micrometres(str(own.file))
    known = [1.0 if is_blank(name) else micrometres(name) for name in names]
    x, y, z = (None if unit is None else size * unit for size, unit in zip(sizes, known, strict=True))
    return (x, y, z), unknown_unit(*names)


def _inherited_factors(name: str, around: Sequence[Attributes]) -> FloatTriple | None:
    """Return the downsampling (x, y, z) of the dataset sN, as a group around it lists them."""
    match = re.fullmatch(r"s(\d+)", name)
    if match is None:
        return None
    level = int(match[1])
    for group in around:
        listed = group.values.get("scales", group.values.get("downsamplingFactors"))
        if isinstance(listed, list) and level < len(listed):
            return _positive(group, _sizes(group, listed[level], "xyz"), listed[level])
    return (1.0, 1.0, 1.0) if level == 0 else None


def _cosem(own: Attributes) -> DeclaredGeometry:
    """Return the geometry by COSEM's {axes, scale, translate, units}."""
    transform = as_object(own.values["transform"])
    axes, scales, shifts, names = (as_list(transform.get(key)) for key in ("axes", "scale", "translate", "units"))
    try:
        rows = {str(axis): values for axis, *values in zip(axes, scales, shifts, names, strict=True)}
        scale, shift, units = zip(*(_cosem_row(*rows[axis]) for axis in "xyz"), strict=True)
    except (KeyError, ValueError) as error:
        raise InputError(
            f"{own.file} has a transform without axes, units, scale and translate for x, y and z."
        ) from error
    known = [micrometres(unit) for unit in units]
    spacing = [None if unit is None else size * unit for size, unit in zip(scale, known, strict=True)]
    origin = [
        s * unit if unit is not None and is_size(size) else (s / size if is_size(size) else 0.0)
        for s, size, unit in zip(shift, scale, known, strict=True)
    ]
    relative = _zyx(scale) if all(map(is_size, scale)) else None
    return DeclaredGeometry(_zyx(spacing), _zyx(origin), unknown_unit(*units), relative)


def _cosem_row(scale: Json, shift: Json, unit: Json) -> tuple[float, float, str]:
    numbers = as_number(scale), as_number(shift)
    if numbers[0] is None or numbers[1] is None:
        raise ValueError(f"{scale} and {shift} are no numbers")
    return numbers[0], numbers[1], str(unit)


def _imagej(own: Attributes) -> DeclaredGeometry:
    """Return the geometry by n5-ij's calibration of ImageJ, whose origins count the voxels to position 0."""
    sizes = _sizes(own, [own.values.get(f"pixel{side}", 1.0) for side in ("Width", "Height", "Depth")], "xyz")
    origin = _sizes(own, [own.values.get(f"{axis}Origin", 0.0) for axis in "xyz"], "xyz")
    unit = str(own.values.get("pixelUnit", ""))
    size = micrometres(unit)
    interval = as_number(own.values.get("frameInterval"))
    step = interval if interval and own.values.get("numFrames", 1) != 1 else None
    if size is None:
        return DeclaredGeometry(None, _zyx([-o for o in origin]), unknown_unit(unit), _zyx(sizes), step)
    spacing = [s * size for s in sizes]
    place = [-o * s if o else 0.0 for o, s in zip(origin, spacing, strict=True)]
    return DeclaredGeometry(_zyx(spacing), _zyx(place), "", _zyx(sizes), step)


def _by_axis(values: Sequence[T], axes: str) -> tuple[T, T, T]:
    """Return those of x, y, z among the values of all axes, or of x, y, z alone."""
    order = axes if len(values) == len(axes) else "xyz"
    x, y, z = (values[order.index(axis)] for axis in "xyz")
    return x, y, z


def _sizes(own: Attributes, value: Json, axes: str) -> FloatTriple:
    """Return the numbers of x, y, z among those of all axes, or of x, y, z and more. Raises InputError for others."""
    numbers = [as_number(number) for number in as_list(value)]
    if len(numbers) < 3 or None in numbers[:3]:
        raise InputError(f"{own.file} has {value} where x,y,z numbers are expected.")
    x, y, z = _by_axis([0.0 if number is None else number for number in numbers], axes)
    return x, y, z


def _numbers(own: Attributes, key: str, axes: str) -> FloatTriple:
    """Return three positive numbers (x, y, z), as `_sizes` does."""
    return _positive(own, _sizes(own, own.values[key], axes), own.values[key])


def _positive(own: Attributes, sizes: FloatTriple, value: Json) -> FloatTriple:
    if not all(is_size(size) for size in sizes):
        raise InputError(f"{own.file} has {value} where positive numbers are expected.")
    return sizes


def _zyx(xyz: Sequence[T]) -> tuple[T, T, T]:
    z, y, x = reverse_axes(xyz)
    return z, y, x
