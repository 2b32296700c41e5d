"""Displacement fields as OME-Zarr 0.6 has them: a scene whose one transformation is an image of vectors.

    FIELD/                                       the scene: "displacements" from the system "fixed" to "moving"
      coordinateTransformations/displacements/   the image of one level, axes c, z, y, x
        s0/                                      its array

See the specification, "coordinateTransformations" (displacements) and "scene": https://ngff.openmicroscopy.org/0.6/
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
from teralign.ome.reading import OmeObject, read_multiscale
from teralign.ome.writing import GROUP_FILE, image_attributes, write_group

_VERSION = "0.6"
_TRANSFORMATIONS = "coordinateTransformations"
_IMAGE = f"{_TRANSFORMATIONS}/displacements"
FIELD_ARRAY = f"{_IMAGE}/s0"
"""The path of the array of vectors in a field that is written here."""
_SPACE = tuple(Axis(name, "space", "micrometer") for name in "zyx")


@dataclass(frozen=True)
class FieldLayout:
    """The array of a stored field, the axis of its components, and the grid of its nodes."""

    array: Path
    vector_axis: int
    grid: Grid


def write_field_image(path: Path, grid: Grid) -> None:
    """Write the metadata of the groups inside the folder of a field; those of the array come with the array.

    Raises OSError where the disk refuses.
    """
    image = Multiscale(
        name="displacements",
        axes=(Axis("c", "displacement", discrete=True), *_SPACE),
        levels=(Level.placed("s0", (1.0, *grid.spacing), (0.0, *grid.origin)),),
        space="fixed",
    )
    write_group(path / _TRANSFORMATIONS, {}, _VERSION)
    write_group(path / _IMAGE, image_attributes(image, _VERSION), _VERSION)


def write_field_scene(path: Path) -> None:
    """Write the metadata that make a folder a field: a map from fixed to moving points. Written last."""
    transformation = {
        "type": "displacements",
        "name": "fixed to moving",
        "input": {"name": "fixed"},
        "output": {"name": "moving"},
        "path": _IMAGE,
        "interpolation": "linear",
    }
    axes = [{"name": axis.name, "type": axis.kind, "unit": axis.unit} for axis in _SPACE]
    systems = [{"name": name, "axes": axes} for name in ("fixed", "moving")]
    scene = {"coordinateSystems": systems, "coordinateTransformations": [transformation]}
    write_group(path, {"ome": {"version": _VERSION, "scene": scene}}, _VERSION)


def read_field_layout(path: Path) -> FieldLayout:
    """Find the field in the folder of a scene, or of an image of vectors. Raises InputError if there is none."""
    if not path.is_dir():
        raise InputError(f"there is no transform {path}.")
    group, attributes = path, _read_ome(path, path)
    if "scene" in attributes:
        try:
            group = path / _only_displacements(path, attributes["scene"])["path"]
        except (AttributeError, TypeError) as error:
            raise _senseless(path, error) from error
        attributes = _read_ome(path, group)
    try:
        image = read_multiscale(group, {"ome": attributes})
        if image is None or image.axes is None:
            raise InputError(f"the field {path} has OME-Zarr metadata without an image or its axes; repair them.")
        vector_axis = _vector_axis(path, image.axes)
        level = image.levels[0]
        array = group / level.path
        shape = list(json.loads((array / GROUP_FILE).read_text())["shape"])
        if len(shape) != 4 or shape.pop(vector_axis) != 3:
            raise InputError(f"the field {path} must have 3 components on 3 axes, not an array of another shape.")
        return FieldLayout(array, vector_axis, _grid(level, vector_axis, shape))
    except InputError:  # a ValueError too
        raise
    except OSError as error:
        raise InputError(f"the field {path} has no array that can be read: {error}.") from error
    except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
        raise _senseless(path, error) from error


def _senseless(path: Path, error: Exception) -> InputError:
    return InputError(f"the field {path} has invalid OME-Zarr metadata ({error!r}).")


def _read_ome(path: Path, group: Path) -> OmeObject:
    """Return the OME-Zarr metadata of a group of the field `path`. Raises InputError if it has none."""
    try:
        attributes = json.loads((group / GROUP_FILE).read_text())["attributes"]["ome"]
    except FileNotFoundError as error:
        raise InputError(
            f"{path} is not a displacement field, or an unfinished one: {group / GROUP_FILE} is missing."
        ) from error
    except OSError as error:
        raise InputError(f"the transform {path} cannot be read: {error.strerror}.") from error
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path} is not a displacement field: {group / GROUP_FILE} has no OME-Zarr metadata."
        ) from error
    if not isinstance(attributes, dict) or not attributes.keys() & {"scene", "multiscales"}:
        raise InputError(
            f"{path} is not a displacement field: {group / GROUP_FILE} has neither a scene nor multiscales."
        )
    return attributes


def _only_displacements(path: Path, scene: OmeObject) -> OmeObject:
    """Return the only transformation of a scene, which must be a field; of a bijection, its forward part."""
    found = scene.get("coordinateTransformations", [])
    if len(found) == 1 and found[0].get("type") == "bijection":
        found = [found[0].get("forward", {})]
    if len(found) != 1 or found[0].get("type") != "displacements" or "path" not in found[0]:
        kinds = ", ".join(str(t.get("type")) for t in found) or "nothing"
        raise InputError(f"{path} must hold one transformation of type displacements, not {kinds}.")
    if found[0].get("interpolation", "linear") != "linear":
        raise InputError(
            f"the field {path} needs {found[0]['interpolation']} interpolation; only linear is supported."
        )
    transformation: OmeObject = found[0]
    return transformation


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
