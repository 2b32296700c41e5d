"""Arrays of vectors of any writer: displacements or coordinates, along any axes, in any unit of length.

In 0.6 they are an image of one level. In drafts of it they are an array that names its axes and its scale in its own
attributes, and their vector axis is the last one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from teralign.errors import InputError
from teralign.ome.model import Axis, Level, Multiscale
from teralign.ome.reading import OmeObject, malformed, read_axis, read_multiscale, read_shape, read_steps
from teralign.ome.writing import GROUP_FILE

KIND_OF_AXIS = {"displacement": "displacements", "coordinate": "coordinates"}
"""The type of the transformation for each type of vector axis."""


@dataclass(frozen=True)
class VectorLayout:
    """A stored array of vectors: node i lies at scale · i + translation, axis by axis, in the units of the axes.

    `kind` is "displacements" or "coordinates". `axes`, `shape`, `scale` and `translation` are those of the points, in
    the order of the array without its vector axis.
    """

    array: Path
    kind: str
    vector_axis: int
    axes: tuple[Axis, ...]
    shape: tuple[int, ...]
    scale: tuple[float, ...]
    translation: tuple[float, ...]


def read_vectors(path: Path, image: str) -> VectorLayout:
    """Find the array of vectors `image` in the file `path`, "" for `path` itself.

    Raises InputError if there is none, or its axes are not one of vectors and as many others as it has components.
    """
    place = path / image
    try:
        metadata = json.loads((place / GROUP_FILE).read_text())
        array, axes, level, further = _of_array(place, metadata) or _of_group(place, metadata)
        stored = json.loads((array / GROUP_FILE).read_text())
        shape = read_shape(stored["shape"])
    except InputError:  # a ValueError too
        raise
    except OSError as error:
        raise InputError(f"the field {place} cannot be read: {error.strerror} ({error.filename}).") from error
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise InputError(f"the field {place} has invalid OME-Zarr metadata: {malformed(error)}.") from error
    if min(shape, default=0) < 1:
        raise InputError(f"the field {place} is empty: its shape is {', '.join(map(str, shape))}.")
    if further:
        raise InputError(f"the field {place} lies in a further coordinate system, which is not supported.")
    vectors = [i for i, axis in enumerate(axes) if axis.kind in KIND_OF_AXIS]
    if len(vectors) != 1 or len(shape) != len(axes) or shape[vectors[0]] != len(axes) - 1:
        shown = ", ".join(f"{axis.name} ({axis.kind or 'no type'})" for axis in axes)
        raise InputError(
            f"the field {place} must have a displacement or coordinate axis, with a component for each other axis, "
            f"not the axes {shown} of sizes {', '.join(map(str, shape))}."
        )
    vector = vectors[0]
    scale, translation = _placed(place, level, len(axes), vector)
    return VectorLayout(
        array,
        KIND_OF_AXIS[axes[vector].kind],
        vector,
        (*axes[:vector], *axes[vector + 1 :]),
        (*shape[:vector], *shape[vector + 1 :]),
        scale,
        translation,
    )


Found = tuple[Path, tuple[Axis, ...], Level, bool]


def _of_group(place: Path, metadata: OmeObject) -> Found:
    """Return array, axes and finest level of an image of vectors, and whether it has further transformations."""
    attributes = metadata["attributes"]["ome"]
    image: Multiscale | None = read_multiscale(place, {"ome": attributes})
    if image is None or image.axes is None:
        raise InputError(f"the field {place} has OME-Zarr metadata without an image or its axes; repair them.")
    content = attributes["multiscales"][0]
    further = bool(content.get("coordinateSystems") and content.get("coordinateTransformations"))
    return place / image.levels[0].path, image.axes, image.levels[0], further


def _of_array(place: Path, metadata: OmeObject) -> Found | None:
    """Return the same of an array that describes itself, as drafts of 0.6 have it; None for a group."""
    if metadata.get("node_type") != "array":
        return None
    own = metadata["attributes"]
    own = own.get("ome", own)
    axes = tuple(read_axis(axis) for axis in own["coordinateSystems"][0]["axes"])
    return place, axes, Level("", read_steps(own.get("coordinateTransformations", ()))), False


def _placed(place: Path, level: Level, ndim: int, vector: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return scale and translation along the axes of points; steps may leave out the vector axis."""
    short = any(step.values is not None and len(step.values) == ndim - 1 for step in level.steps)
    try:
        scale, translation = level.transform(ndim - 1 if short else ndim)
    except ValueError as error:
        raise InputError(
            f"the field {place} has a transformation that is no scale or translation of its {ndim} axes."
        ) from error
    if not short:
        scale, translation = np.delete(scale, vector), np.delete(translation, vector)
    if not (np.isfinite(scale) & (scale > 0)).all():
        raise InputError(f"the field {place} must have a scale of positive numbers.")
    if not np.isfinite(translation).all():
        raise InputError(f"the field {place} must have a translation of finite numbers.")
    return tuple(scale.tolist()), tuple(translation.tolist())
