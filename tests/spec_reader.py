"""A reader of coordinate transformations, from the text of OME-Zarr 0.6 alone: numpy and zarr, nothing of Teralign.

It holds files to what the specification says of them, where a reader of ours would only hold them to ours.
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import zarr


def map_points(scene: str | Path, points: np.ndarray, source: str = "fixed", target: str = "moving") -> np.ndarray:
    """The images of points (n, 3) of the coordinate system `source` in `target`; axes in the order of the systems."""
    root = zarr.open_group(str(scene), mode="r")
    ome = root.attrs["ome"]
    assert ome["version"] == "0.6"
    systems = {system["name"]: system["axes"] for system in ome["scene"]["coordinateSystems"]}
    for axes in (systems[source], systems[target]):
        assert [(axis["type"], axis["unit"]) for axis in axes] == [("space", "micrometer")] * 3
        assert [axis["name"] for axis in axes] == ["z", "y", "x"]
    for transformation in ome["scene"]["coordinateTransformations"]:
        ends = transformation["input"]["name"], transformation["output"]["name"]
        if ends == (source, target):
            return _applied(root, transformation, np.asarray(points, float))
        if ends == (target, source) and transformation["type"] == "bijection":
            return _applied(root, transformation["inverse"], np.asarray(points, float))
    raise LookupError(f"no transformation from {source} to {target} in {json.dumps(ome)}")


def _applied(root: zarr.Group, transformation: dict[str, Any], points: np.ndarray) -> np.ndarray:
    match transformation["type"]:
        case "identity":
            return points
        case "affine":
            matrix = np.array(transformation["affine"], float)
            return points @ matrix[:, :-1].T + matrix[:, -1]
        case "sequence":  # the first transformation is applied first
            for part in transformation["transformations"]:
                points = _applied(root, part, points)
            return points
        case "bijection":
            return _applied(root, transformation["forward"], points)
        case "displacements":
            return points + _interpolated(root, transformation, points)
    raise NotImplementedError(transformation["type"])


def _interpolated(root: zarr.Group, transformation: dict[str, Any], points: np.ndarray) -> np.ndarray:
    """The displacements at points: linear between the nodes of the image of vectors."""
    assert transformation.get("interpolation", "linear") == "linear"
    image = root[transformation["path"]]
    (multiscale,) = image.attrs["ome"]["multiscales"]
    (dataset,) = multiscale["datasets"]
    (to_space,) = dataset["coordinateTransformations"]
    assert to_space["input"]["path"] == dataset["path"]
    systems = {system["name"]: system["axes"] for system in multiscale["coordinateSystems"]}
    axes = systems[to_space["output"]["name"]]
    (vector_axis,) = (i for i, axis in enumerate(axes) if axis["type"] == "displacement")
    assert [axis["name"] for axis in axes if axis["type"] == "space"] == ["z", "y", "x"]
    scale, translation = (
        np.delete(part[part["type"]], vector_axis)
        for part in sorted(to_space["transformations"], key=lambda part: part["type"])
    )
    assert [part["type"] for part in to_space["transformations"]] == ["scale", "translation"]
    vectors = np.moveaxis(image[dataset["path"]][:], vector_axis, -1)
    index = np.clip((points - translation) / scale, 0, np.array(vectors.shape[:3]) - 1)
    low = np.minimum(np.floor(index).astype(int), np.maximum(np.array(vectors.shape[:3]) - 2, 0))
    share = index - low
    found = np.zeros_like(points)
    for corner in itertools.product((0, 1), repeat=3):
        weight = np.prod(np.where(corner, share, 1 - share), axis=1)
        node = np.minimum(low + corner, np.array(vectors.shape[:3]) - 1)
        found += weight[:, None] * vectors[tuple(node.T)]
    return found
