"""How good a map is: error at points whose true place is known, likeness of the images, folding.

A map is an array (z, y, x, 3): where the centre of each fixed voxel lies in the moving image, zyx in µm. Whatever
tool found it, it is measured by the same code.
"""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from teralign.evaluation.similarity import similarity
from teralign.grids import Floats, Grid
from teralign.transforms import Affine

Map = NDArray[np.float32]


def unmoved(grid: Grid) -> Map:
    """The map that moves nothing."""
    index = np.stack(np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij"), axis=-1)
    return grid.to_physical(index).astype(np.float32)


def moved(grid: Grid, affine: Affine) -> Map:
    """An affine as a map."""
    return affine.map_points(unmoved(grid).reshape(-1, 3)).reshape(*grid.shape, 3).astype(np.float32)


def errors(found: Floats, true: Floats) -> dict[str, float]:
    """Target registration error in µm between two lists of points (n, 3)."""
    distance = np.linalg.norm(found - true, axis=1)
    median, p95, p99 = np.percentile(distance, (50, 95, 99))
    return {"mean": float(distance.mean()), "median": float(median), "p95": float(p95), "p99": float(p99)}


def at_points(found: Map, grid: Grid, points: Floats) -> Floats:
    """A map at points (n, 3) µm of the fixed image, linearly interpolated."""
    at = grid.to_index(points).T
    return np.stack([ndimage.map_coordinates(found[..., a], at, order=1, mode="nearest") for a in range(3)], axis=-1)


def likeness(
    found: Map, fixed: NDArray[np.uint16], moving: NDArray[np.uint16], moving_grid: Grid
) -> dict[str, float]:
    """NCC and LNCC over the fixed foreground, and the share of it that the moving image covers where it is not 0."""
    at = np.moveaxis(moving_grid.to_index(found), -1, 0)
    last = np.array(moving.shape).reshape(3, 1, 1, 1) - 1
    inside = ((at >= -0.5) & (at <= last + 0.5)).all(axis=0)
    warped = ndimage.map_coordinates(moving, at, order=1, mode="nearest", output=np.float32) * inside
    scores = similarity(fixed.astype(np.float32), warped, warped > 0)
    return {name: float(value) if value is not None else float("nan") for name, value in asdict(scores).items()}


def folded(found: Map, grid: Grid) -> float:
    """The share of voxels around which the map turns space inside out: a Jacobian determinant of 0 or less."""
    count = 0
    for z in range(grid.shape[0] - 1):
        base = found[z, :-1, :-1]
        edges = (found[z + 1, :-1, :-1] - base, found[z, 1:, :-1] - base, found[z, :-1, 1:] - base)
        count += int((np.einsum("ijk,ijk->ij", edges[0], np.cross(edges[1], edges[2])) <= 0).sum())
    return count / float(np.prod(np.array(grid.shape) - 1))
