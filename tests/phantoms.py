"""Images with a known truth: tissue of many cells, drawn at any voxel size and seen through any map.

A `Scene` is analytic: soft balls in a box, of random places, sizes and brightness. It can be drawn on any grid, and
through a map of points, so a moving image is exact, not a resampled copy of the fixed one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from teralign.grids import Floats, Grid
from teralign.registration import Image
from teralign.transforms import Affine

Map = Callable[[Floats], Floats]


@dataclass(frozen=True)
class Scene:
    """Soft balls: centres (N, 3) µm, radii (N,) µm, brightness (N,)."""

    centres: Floats
    radii: Floats
    brightness: Floats

    @classmethod
    def cells(cls, extent: float | Floats = 160.0, *, count: int = 400, radius: float = 6.0, seed: int = 0) -> Scene:
        """Cells spread over a cube (or box) of `extent` µm and, by as much again, around it."""
        rng = np.random.default_rng(seed)
        size = np.broadcast_to(np.asarray(extent, dtype=np.float64), 3)
        # The surroundings hold cells too, so that what a map brings into view is tissue.
        centres = rng.uniform(-0.5, 1.5, (8 * count, 3)) * size
        return cls(centres, radius * rng.uniform(0.6, 1.4, 8 * count), rng.uniform(0.3, 1.0, 8 * count))

    def at(self, points: Floats) -> NDArray[np.float32]:
        """The brightness at points (N, 3) µm: the sum of Gaussians of which σ is half the radius."""
        values = np.zeros(len(points), np.float32)
        reach = 2.0 * self.radii
        tree = cKDTree(points)
        for centre, radius, bright, near in zip(
            self.centres, self.radii, self.brightness, tree.query_ball_point(self.centres, reach), strict=True
        ):
            d2 = ((points[near] - centre) ** 2).sum(axis=1)
            values[near] += bright * np.exp(-2 * d2 / radius**2)
        return values

    def draw(
        self, grid: Grid, through: Map | None = None, *, noise: float = 0.02, gain: float = 1000.0, seed: int = 0
    ) -> Image:
        """The scene on a grid, uint16: each voxel shows the scene at `through` of its place."""
        index = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), -1).reshape(-1, 3)
        points = grid.to_physical(index)
        values = self.at(through(points) if through is not None else points).reshape(grid.shape)
        values = values + noise * np.random.default_rng(seed).standard_normal(grid.shape)
        return Image(np.clip(200 + gain * values, 0, 65535).astype(np.uint16), grid)


def cube(voxels: int = 64, spacing: float | tuple[float, float, float] = 2.5) -> Grid:
    """A grid of cubic shape."""
    triple = (spacing,) * 3 if isinstance(spacing, int | float) else spacing
    return Grid((voxels,) * 3, triple)


def affine_about(
    centre: Floats,
    *,
    shift: tuple[float, float, float] = (0, 0, 0),
    rotation: tuple[float, float, float] = (0, 0, 0),
    scale: tuple[float, float, float] = (1, 1, 1),
) -> Affine:
    """The map p ↦ c + R·S·(p − c) + shift; rotation is a vector of degrees, all are (z, y, x)."""
    linear = Rotation.from_rotvec(rotation, degrees=True).as_matrix() @ np.diag(scale)
    return Affine.from_parts(linear, np.asarray(centre) + shift - linear @ centre)


def pair(
    scene: Scene, fixed_grid: Grid, moving_grid: Grid, truth: Affine, *, noise: float = 0.02
) -> tuple[Image, Image]:
    """A fixed and a moving image of which `truth` maps fixed to moving points."""
    fixed = scene.draw(fixed_grid, noise=noise, seed=1)
    return fixed, scene.draw(moving_grid, truth.inverse().map_points, noise=noise, seed=2, gain=600.0)


def errors(found: Map, truth: Map, grid: Grid, count: int = 2000) -> Floats:
    """The distances in µm between where two maps take random points of a grid."""
    points = np.random.default_rng(0).uniform(0, 1, (count, 3)) * np.array(grid.extent) + np.array(grid.origin)
    return np.asarray(np.linalg.norm(found(points) - truth(points), axis=1))
