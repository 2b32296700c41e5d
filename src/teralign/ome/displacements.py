"""Displacement fields as OME-Zarr 0.6 has them: the vectors of a transformation are an image of one level.

    FILE/                                        a scene, whose transformations name the images of vectors
      coordinateTransformations/displacements/   an image of vectors, axes c, z, y, x
        s0/                                      its array

See the specification, "coordinateTransformations" (displacements): https://ngff.openmicroscopy.org/0.6/
Images of vectors without a scene (also of 0.5), and vectors along any axis, are read too.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from teralign.errors import InputError
from teralign.grids import Grid
from teralign.ome.model import Axis, Level, Multiscale, Step
from teralign.ome.reading import read_multiscale, read_shape
from teralign.ome.scene import SCENE_VERSION, read_ome, senseless
from teralign.ome.writing import GROUP_FILE, image_attributes, write_group

_TRANSFORMATIONS = "coordinateTransformations"
FIELD_LEVEL = "s0"
"""The path of the array of vectors in an image of vectors that is written here."""
SPACE = tuple(Axis(name, "space", "micrometer") for name in "zyx")
"""The axes of points."""


@dataclass(frozen=True)
class FieldLayout:
    """The array of a stored field, the axis of its components, and the grid of its nodes."""

    array: Path
    vector_axis: int
    grid: Grid


def field_image(number: int = 0) -> str:
    """Return the path, in a file, of the image of vectors with this number in the order of application."""
    return f"{_TRANSFORMATIONS}/displacements{number + 1 if number else ''}"


def write_field_image(path: Path, image: str, grid: Grid, kind: str = "displacements") -> None:
    """Write the metadata of the groups of an image of vectors in the file `path`; its array has metadata of its own.

    `kind` is "displacements" or "coordinates". Raises OSError where the disk refuses.
    """
    name = image.rpartition("/")[2]
    vectors = Multiscale(
        name=name,
        method="none",
        method_description="one level: no downsampling",
        axes=(Axis("c", kind.removesuffix("s"), discrete=True), *SPACE),
        levels=(Level.placed(FIELD_LEVEL, (1.0, *grid.spacing), (0.0, *grid.origin)),),
        space=name,
    )
    write_group(path / _TRANSFORMATIONS, {}, SCENE_VERSION)
    write_group(path / image, image_attributes(vectors, SCENE_VERSION), SCENE_VERSION)


def read_field_layout(path: Path, image: str) -> FieldLayout:
    """Find the array of the image of vectors `image`, "" for `path` itself. Raises InputError if there is none."""
    group = path / image
    attributes = read_ome(path, group)
    try:
        found = read_multiscale(group, {"ome": attributes})
        if found is None or found.axes is None:
            raise InputError(f"the field {path} has OME-Zarr metadata without an image or its axes; repair them.")
        vector_axis = _vector_axis(path, found.axes)
        level = found.levels[0]
        array = group / level.path
        shape = read_shape(json.loads((array / GROUP_FILE).read_text())["shape"])[:]
        if len(shape) != 4 or shape.pop(vector_axis) != 3:
            raise InputError(f"the field {path} must have 3 components on 3 axes, not an array of another shape.")
        return FieldLayout(array, vector_axis, _grid(level, vector_axis, shape))
    except InputError:  # a ValueError too
        raise
    except OSError as error:
        raise InputError(f"the field {path} has no array that can be read: {error}.") from error
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise senseless(path, error) from error


def _vector_axis(path: Path, axes: tuple[Axis, ...]) -> int:
    """Return the index of the displacement axis; the others must be z, y, x in µm."""
    kinds = [axis.kind for axis in axes]
    space = [axis for axis in axes if axis.kind == "space"]
    if kinds.count("displacement") != 1 or [axis.name for axis in space] != ["z", "y", "x"] or len(axes) != 4:
        shown = ", ".join(f"{axis.name} ({axis.kind})" for axis in axes)
        raise InputError(
            f"the axes of the field {path} must be a displacement axis and z, y, x in this order, not {shown}."
        )
    units = {str(axis.unit) for axis in space}
    if units != {"micrometer"}:
        raise InputError(f"the axes of the field {path} must be in micrometer, not {', '.join(sorted(units))}.")
    return kinds.index("displacement")


def _grid(level: Level, vector_axis: int, shape: list[int]) -> Grid:
    """Return the grid of the nodes, an array of `shape` (z, y, x); steps of three numbers lack the vector axis."""
    steps = (_spatial(step, vector_axis) for step in level.steps)
    scale, translation = Level(level.path, tuple(steps)).transform(3)
    (z, y, x), (dz, dy, dx), (oz, oy, ox) = shape, scale.tolist(), translation.tolist()
    return Grid((z, y, x), (dz, dy, dx), (oz, oy, ox))


def _spatial(step: Step, vector_axis: int) -> Step:
    if step.values is None or len(step.values) != 4:
        return step
    return Step(step.kind, tuple(np.delete(step.values, vector_axis).tolist()))
