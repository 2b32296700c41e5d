"""Coordinate transformations of OME-Zarr 0.6 as values, read from JSON and written to it.

The arrays that some of them name are not opened here. A transformation maps points of its input to points of its
output; a sequence applies its first one first. See
"coordinateTransformations" in the specification: https://ngff.openmicroscopy.org/0.6/
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from teralign.ome.reading import OmeJson, OmeObject, json_list, json_object, path_inside

LINEAR = "linear"
CUBIC = "bspline-cubic"
Numbers: TypeAlias = tuple[float, ...]
MatrixRows: TypeAlias = tuple[Numbers, ...]


@dataclass(frozen=True)
class Identity:
    """The transformation that moves nothing."""


@dataclass(frozen=True)
class Scaling:
    """A factor for each axis."""

    values: Numbers


@dataclass(frozen=True)
class Translation:
    """A shift along each axis."""

    values: Numbers


@dataclass(frozen=True)
class NumberMatrix:
    """A matrix, in JSON (`rows`) or in the array at `path`: "affine" of n rows and n + 1 columns, or "rotation"."""

    kind: str
    rows: MatrixRows | None = None
    path: str | None = None


@dataclass(frozen=True)
class MapAxis:
    """A permutation: output axis i is input axis `axes[i]`."""

    axes: tuple[int, ...]


@dataclass(frozen=True)
class ProjectAxis:
    """The input axes `dropped` left out, then zeros put at the output axes `created`."""

    dropped: tuple[int, ...]
    created: tuple[int, ...]


@dataclass(frozen=True)
class VectorField:
    """The vectors of the image at `path`: "displacements", which are added to a point, or "coordinates"."""

    kind: str
    path: str
    interpolation: str = LINEAR


@dataclass(frozen=True)
class Sequence:
    """Transformations one after the other, the first one first."""

    parts: tuple[Transformation, ...]


@dataclass(frozen=True)
class Bijection:
    """A transformation whose inverse is known."""

    forward: Transformation
    inverse: Transformation


@dataclass(frozen=True)
class AxisPart:
    """A transformation from some axes of the input to some axes of the output, by index, or in drafts by name."""

    transformation: Transformation
    input_axes: tuple[int | str, ...]
    output_axes: tuple[int | str, ...]


@dataclass(frozen=True)
class ByDimension:
    """Transformations of fewer axes, side by side."""

    parts: tuple[AxisPart, ...]


@dataclass(frozen=True)
class Unknown:
    """A transformation of a kind that has no value here."""

    kind: str


Transformation: TypeAlias = (
    Identity
    | Scaling
    | Translation
    | NumberMatrix
    | MapAxis
    | ProjectAxis
    | VectorField
    | Sequence
    | Bijection
    | ByDimension
    | Unknown
)


def read_transformation(value: object) -> Transformation:
    """Return a coordinate transformation. Raises KeyError, TypeError or ValueError for JSON that makes none."""
    content = json_object(value, "transformation")
    kind = str(content.get("type"))
    match kind:
        case "identity":
            return Identity()
        case "scale":
            return Scaling(_numbers(content["scale"]))
        case "translation":
            return Translation(_numbers(content["translation"]))
        case "affine" | "rotation":
            rows = content.get(kind)
            return NumberMatrix(
                kind,
                None if rows is None else tuple(map(_numbers, json_list(rows, "rows"))),
                _path(content) if rows is None else None,
            )
        case "mapAxis":
            return MapAxis(_indices(content["mapAxis"]))
        case "projectAxis":
            if not content.keys() & {"droppedInputs", "createdOutputs"}:
                raise ValueError("a projectAxis without droppedInputs or createdOutputs")
            return ProjectAxis(
                _indices(content.get("droppedInputs", ())), _indices(content.get("createdOutputs", ()))
            )
        case "displacements" | "coordinates":
            interpolation = str(content.get("interpolation") or LINEAR)
            return VectorField(kind, _path(content), CUBIC if interpolation == "cubic" else interpolation)
        case "sequence":
            return Sequence(tuple(map(read_transformation, _parts(content))))
        case "bijection":
            return Bijection(read_transformation(content["forward"]), read_transformation(content["inverse"]))
        case "byDimension":
            return ByDimension(tuple(map(_axis_part, _parts(content))))
    return Unknown(kind)


def transformation_json(transformation: Transformation) -> OmeObject:
    """Return a transformation as JSON, without name, input and output. Raises ValueError for an unknown kind."""
    match transformation:
        case Identity():
            return {"type": "identity"}
        case Scaling(values):
            return {"type": "scale", "scale": list(values)}
        case Translation(values):
            return {"type": "translation", "translation": list(values)}
        case NumberMatrix(kind, rows, path):
            return {"type": kind} | ({"path": path} if rows is None else {kind: [list(row) for row in rows]})
        case MapAxis(axes):
            return {"type": "mapAxis", "mapAxis": list(axes)}
        case ProjectAxis(dropped, created):
            indices = {"droppedInputs": list(dropped), "createdOutputs": list(created)}
            return {"type": "projectAxis"} | {key: axes for key, axes in indices.items() if axes}
        case VectorField(kind, path, interpolation):
            return {"type": kind, "path": path, "interpolation": interpolation}
        case Sequence(parts):
            return {"type": "sequence", "transformations": [transformation_json(part) for part in parts]}
        case Bijection(forward, inverse):
            return {
                "type": "bijection",
                "forward": transformation_json(forward),
                "inverse": transformation_json(inverse),
            }
        case ByDimension(parts):
            return {"type": "byDimension", "transformations": [_axis_part_json(part) for part in parts]}
        case Unknown(kind):
            raise ValueError(f"a transformation of type {kind} cannot be written")


def vector_fields(transformation: Transformation) -> Iterator[VectorField]:
    """Give all fields of a transformation, those of both directions of a bijection too."""
    match transformation:
        case VectorField():
            yield transformation
        case Sequence(parts):
            for part in parts:
                yield from vector_fields(part)
        case Bijection(forward, inverse):
            yield from vector_fields(forward)
            yield from vector_fields(inverse)
        case ByDimension(parts):
            for axis_part in parts:
                yield from vector_fields(axis_part.transformation)


def _numbers(values: object) -> Numbers:
    listed = json_list(values, "numbers")
    if not all(isinstance(value, int | float) for value in listed):
        raise TypeError(f"{reprlib.repr(values)} is no list of numbers")
    try:
        numbers = tuple(float(value) for value in listed if isinstance(value, int | float))
    except OverflowError:
        numbers = (math.inf,)
    if not all(map(math.isfinite, numbers)):
        raise ValueError(f"{reprlib.repr(values)} are not all finite")
    return numbers


def _indices(values: object) -> tuple[int, ...]:
    numbers = _numbers(values)
    indices = tuple(int(number) for number in numbers)
    if indices != numbers or min(indices, default=0) < 0 or len(set(indices)) != len(indices):
        raise ValueError(f"{values!r} are not indices of axes, each once")
    return indices


def _path(content: OmeJson) -> str:
    path = content["path"]
    return path_inside(path.strip("/") if isinstance(path, str) else path)


def _parts(content: OmeJson) -> list[object]:
    return json_list(content["transformations"], "transformations")


def _axis_part(value: object) -> AxisPart:
    """Return a part of a byDimension; drafts of 0.6 had keys with underscores, or the axes in the transformation."""
    content = json_object(value, "part of a byDimension")
    inputs, outputs = (
        content[old if old in content and key not in content else key] for key, old in _AXIS_KEYS.items()
    )
    return AxisPart(read_transformation(content.get("transformation", content)), _axes(inputs), _axes(outputs))


def _axes(values: object) -> tuple[int | str, ...]:
    if isinstance(values, list) and all(isinstance(value, str) for value in values):
        return tuple(values)
    return _indices(values)


_AXIS_KEYS = {"inputAxes": "input_axes", "outputAxes": "output_axes"}


def _axis_part_json(part: AxisPart) -> OmeObject:
    return {
        "transformation": transformation_json(part.transformation),
        "inputAxes": list(part.input_axes),
        "outputAxes": list(part.output_axes),
    }
