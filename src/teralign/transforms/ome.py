"""The OME-Zarr 0.6 metadata of a displacement field, written and read.

See the specification, "coordinateTransformations" (displacements) and "scene": https://ngff.openmicroscopy.org/0.6
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from teralign.errors import InputError
from teralign.files import write_atomically
from teralign.grids import Floats, Grid

FILE = "zarr.json"
GROUP = "coordinateTransformations"
IMAGE = f"{GROUP}/displacements"
ARRAY = f"{IMAGE}/s0"
_VERSION = "0.6"
Json = dict[str, Any]


@dataclass(frozen=True)
class Layout:
    """Where a stored field has its array, along which axis the components are, and the grid of its nodes."""

    array: Path
    vector_axis: int
    grid: Grid


def write_layout(path: Path, grid: Grid) -> None:
    """Write the metadata of the groups inside the field's folder; the array's own comes with the array."""
    system = {
        "name": "fixed",
        "axes": [{"name": "c", "type": "displacement", "discrete": True}, *_space_axes()],
    }
    level = {
        "path": "s0",
        "coordinateTransformations": [
            {
                "type": "sequence",
                "input": {"path": "s0"},
                "output": {"name": "fixed"},
                "transformations": [
                    {"type": "scale", "scale": [1.0, *grid.spacing]},
                    {"type": "translation", "translation": [0.0, *grid.origin]},
                ],
            }
        ],
    }
    _write_group(path / GROUP, {})
    multiscale = {"name": "displacements", "coordinateSystems": [system], "datasets": [level]}
    _write_group(path / IMAGE, {"ome": {"version": _VERSION, "multiscales": [multiscale]}})


def write_scene(path: Path) -> None:
    """Write the metadata that says what the field is: a map from fixed to moving points. It makes the field whole."""
    transformation = {
        "type": "displacements",
        "name": "fixed to moving",
        "input": {"name": "fixed"},
        "output": {"name": "moving"},
        "path": IMAGE,
        "interpolation": "linear",
    }
    systems = [{"name": name, "axes": _space_axes()} for name in ("fixed", "moving")]
    scene = {"coordinateSystems": systems, "coordinateTransformations": [transformation]}
    _write_group(path, {"ome": {"version": _VERSION, "scene": scene}})


def _space_axes() -> list[Json]:
    return [{"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"]


def _write_group(folder: Path, attributes: Json) -> None:
    content = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
    write_atomically(folder / FILE, (json.dumps(content, indent=2) + "\n").encode())


def read(path: Path) -> Layout:
    """Find the field in the folder of a scene, or of a field. Raises InputError when there is none to read."""
    if not path.is_dir():
        raise InputError(f"there is no transform {path}.")
    attributes = _read_ome(path, path)
    image = path
    if "scene" in attributes:
        transformation = _only_displacements(path, attributes["scene"])
        image = path / transformation["path"]
        attributes = _read_ome(path, image)
    try:
        multiscale = attributes["multiscales"][0]
        level = multiscale["datasets"][0]
        axes = multiscale["axes"] if "axes" in multiscale else multiscale["coordinateSystems"][0]["axes"]
        vector_axis = _vector_axis(path, axes)
        array = image / level["path"]
        shape = list(json.loads((array / FILE).read_text())["shape"])
        if len(shape) != 4 or shape.pop(vector_axis) != 3:
            raise InputError(f"the field {path} must have 3 components on 3 axes, not an array of another shape.")
        # Up to 0.5, transformations of the whole image follow those of the level; later they lead elsewhere.
        whole = multiscale.get("coordinateTransformations", []) if "axes" in multiscale else []
        grid = _grid(level["coordinateTransformations"] + whole, vector_axis, shape)
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"the field {path} has no array that can be read: {error}.") from error
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise InputError(f"the field {path} has OME-Zarr metadata that make no sense ({error!r}).") from error
    return Layout(array, vector_axis, grid)


def _read_ome(path: Path, group: Path) -> Json:
    try:
        attributes = json.loads((group / FILE).read_text())["attributes"]["ome"]
    except FileNotFoundError as error:
        raise InputError(
            f"{path} is not a displacement field, or one that was not written to its end: {group / FILE} is missing."
        ) from error
    except OSError as error:
        raise InputError(f"the transform {path} cannot be read: {error.strerror}.") from error
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is not a displacement field: {group / FILE} has no OME-Zarr metadata.") from error
    if not isinstance(attributes, dict) or not attributes.keys() & {"scene", "multiscales"}:
        raise InputError(f"{path} is not a displacement field: {group / FILE} has neither a scene nor multiscales.")
    return attributes


def _only_displacements(path: Path, scene: Json) -> Json:
    """The one transformation of a scene, which must be a field; of a bijection the way forward."""
    found = scene.get("coordinateTransformations", [])
    if len(found) == 1 and found[0].get("type") == "bijection":
        found = [found[0].get("forward", {})]
    if len(found) != 1 or found[0].get("type") != "displacements" or "path" not in found[0]:
        kinds = ", ".join(str(t.get("type")) for t in found) or "nothing"
        raise InputError(f"{path} must hold one transformation of type displacements, not {kinds}.")
    if found[0].get("interpolation", "linear") != "linear":
        raise InputError(
            f"the field {path} asks for {found[0]['interpolation']} interpolation; only linear is known."
        )
    transformation: Json = found[0]
    return transformation


def _vector_axis(path: Path, axes: list[Json]) -> int:
    """The index of the displacement axis; the others must be z, y, x in µm."""
    kinds = [axis.get("type") for axis in axes]
    space = [axis for axis in axes if axis.get("type") == "space"]
    if (
        kinds.count("displacement") != 1
        or [axis["name"].lower() for axis in space] != ["z", "y", "x"]
        or len(axes) != 4
    ):
        shown = ", ".join(f"{axis.get('name')} ({axis.get('type')})" for axis in axes)
        raise InputError(
            f"the axes of the field {path} must be a displacement axis and z, y, x in this order, not {shown}."
        )
    units = {str(axis.get("unit")) for axis in space}
    if units != {"micrometer"}:
        raise InputError(f"the axes of the field {path} must be in micrometer, not {', '.join(sorted(units))}.")
    return kinds.index("displacement")


def _grid(transformations: list[Json], vector_axis: int, shape: list[int]) -> Grid:
    """The grid that scales and translations, one after the other, give to an array of `shape` (z, y, x)."""
    scale, shift = np.ones(3), np.zeros(3)
    for step in _flattened(transformations):
        if step["type"] == "scale":
            factors = _spatial(step["scale"], vector_axis)
            scale, shift = scale * factors, shift * factors
        elif step["type"] == "translation":
            shift = shift + _spatial(step["translation"], vector_axis)
        elif step["type"] != "identity":
            raise ValueError(f"a {step['type']} between array and space")
    (z, y, x), (dz, dy, dx), (oz, oy, ox) = shape, scale.tolist(), shift.tolist()
    return Grid((z, y, x), (dz, dy, dx), (oz, oy, ox))


def _flattened(transformations: list[Json]) -> list[Json]:
    flat: list[Json] = []
    for step in transformations:
        flat.extend(_flattened(step["transformations"]) if step["type"] == "sequence" else [step])
    return flat


def _spatial(numbers: list[float], vector_axis: int) -> Floats:
    """The three numbers of the spatial axes; a list of only three has none for the vector axis."""
    values = np.array(numbers, dtype=np.float64)
    if values.shape not in {(3,), (4,)}:
        raise ValueError(f"{len(numbers)} numbers for 4 axes")
    return np.delete(values, vector_axis) if len(values) == 4 else values
