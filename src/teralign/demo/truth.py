"""The true map of the demo data, exact to the arithmetic.

It is given by its inverse, as rendering needs it: a moving point y lies in the scene at

    ψ(y) = p + b(p),   p = A⁻¹ y,

with b a cubic B-spline on knots in the fixed frame. So a fixed point x goes to A · p, where p = x − b(p) is found by
iteration: b contracts, because its slope is kept below ½. Written as a stack: x_moving = A · (x + u(x)).
Points are (n, 3), zyx, µm.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from teralign.demo import kernels
from teralign.files import write_arrays, writing
from teralign.grids import Floats, Grid

STEEPEST = 0.45
"""The largest slope (spectral norm of the derivative of b) that `random_map` allows."""


@dataclass(frozen=True)
class TrueMap:
    """The map from fixed to moving: a bend by `knots` (z, y, x, 3) in µm, then `affine` (4, 4).

    The knots lie every `spacing` µm from `origin`.
    """

    affine: Floats
    origin: Floats
    spacing: float
    knots: Floats

    @classmethod
    def identity(cls) -> TrueMap:
        """Return the map of the fixed round: the identity."""
        return cls(np.eye(4), np.zeros(3), 1.0, np.zeros((4, 4, 4, 3)))

    def bend(self, points: Floats) -> Floats:
        """Return the deformation b at points of the undeformed fixed frame, (n, 3) µm."""
        return np.asarray(kernels.bend_points(np.ascontiguousarray(points), self.origin, self.spacing, self.knots))

    def to_scene(self, moving_points: Floats) -> Floats:
        """Return ψ: the positions of points of the moving round in the scene, which is the fixed frame."""
        inverse = np.linalg.inv(self.affine)
        points: Floats = np.asarray(moving_points) @ inverse[:3, :3].T + inverse[:3, 3]
        return points + self.bend(points)

    def unbend(self, fixed_points: Floats) -> Floats:
        """Solve p + b(p) = x for fixed points x, to 1e-9 µm: x + u(x) as a stack."""
        fixed_points = np.asarray(fixed_points, dtype=np.float64)
        points = fixed_points.copy()
        for _ in range(200):
            step = fixed_points - self.bend(points) - points
            points += step
            if np.abs(step).max(initial=0.0) < 1e-9:
                break
        return points

    def to_moving(self, fixed_points: Floats) -> Floats:
        """Return the true positions in the moving round of points of the fixed round."""
        points = self.unbend(fixed_points)
        moved: Floats = points @ self.affine[:3, :3].T + self.affine[:3, 3]
        return moved

    def jacobian(self, points: Floats, step: float = 0.05) -> Floats:
        """Return the derivatives of x → p + b(p) at points p, (n, 3, 3), by central differences of `step` µm."""
        columns = [
            (self.bend(points + offset) - self.bend(points - offset)) / (2 * step) for offset in np.eye(3) * step
        ]
        return np.eye(3) + np.stack(columns, axis=-1)

    def tile_matrix(self, grid: Grid) -> Floats:
        """Return the matrix (3, 4) from voxel indices of `grid`, in the moving round, to p = A⁻¹ y."""
        inverse = np.linalg.inv(self.affine)[:3]
        return np.column_stack([inverse[:, :3] * grid.spacing, inverse[:, :3] @ grid.origin + inverse[:, 3]])

    def save(self, path: Path) -> None:
        """Write all numbers of the map to an .npz file for `load`."""
        spacing = np.array(self.spacing)
        with writing(path) as file:
            write_arrays(
                file, {"affine": self.affine, "origin": self.origin, "spacing": spacing, "knots": self.knots}
            )

    @classmethod
    def load(cls, path: Path) -> TrueMap:
        """Read a map that `save` wrote."""
        with np.load(path) as file:
            return cls(file["affine"], file["origin"], float(file["spacing"]), file["knots"])


def random_map(rng: np.random.Generator, fixed: Grid, moving: Grid) -> TrueMap:
    """Return a map as between two rounds: rotated, scaled, sheared, shifted by a tenth of the view, bent."""
    affine = _random_affine(rng, fixed, moving)
    low, high = fixed.corners()[0], fixed.corners()[-1]
    corners = moving.corners() @ np.linalg.inv(affine)[:3, :3].T + np.linalg.inv(affine)[:3, 3]
    low, high = np.minimum(low, corners.min(axis=0)) - 30, np.maximum(high, corners.max(axis=0)) + 30
    spacing = float(np.clip(min(fixed.extent) / 2, 20.0, 70.0))
    count = np.ceil((high - low) / spacing).astype(int) + 5
    origin = low - 2 * spacing
    knots = rng.normal(size=(*count, 3))
    bent = TrueMap(affine, origin, spacing, knots)
    return TrueMap(affine, origin, spacing, knots * _amplitude(bent, low, high, rng))


def _random_affine(rng: np.random.Generator, fixed: Grid, moving: Grid) -> Floats:
    """Return an affine about the middle: rotation up to 4° about z and 2° about y and x, scale ±3 %, shear ±1.5 %."""
    turn = np.deg2rad(rng.choice([-1, 1], 3) * rng.uniform(0.5, 1.0, 3) * [4.0, 2.0, 2.0])
    matrix = _rotation(0, turn[0]) @ _rotation(1, turn[1]) @ _rotation(2, turn[2])
    matrix = matrix @ np.diag(1 + rng.uniform(-0.03, 0.03, 3))
    matrix[1, 2] += rng.uniform(-0.015, 0.015)
    matrix[0, 2] += rng.uniform(-0.01, 0.01)
    fraction = rng.choice([-1, 1], 3) * rng.uniform([0.06, 0.10, 0.10], [0.10, 0.15, 0.15])
    affine = np.eye(4)
    affine[:3, :3] = matrix
    affine[:3, 3] = moving.centre + fraction * fixed.extent - matrix @ fixed.centre
    return affine


def _rotation(axis: int, angle: float) -> Floats:
    """Return the rotation (3, 3) by `angle` radians about `axis`."""
    i, j = [a for a in range(3) if a != axis]
    matrix = np.eye(3)
    matrix[i, i] = matrix[j, j] = np.cos(angle)
    matrix[i, j], matrix[j, i] = -np.sin(angle), np.sin(angle)
    return matrix


def _amplitude(unit: TrueMap, low: NDArray[np.float64], high: NDArray[np.float64], rng: np.random.Generator) -> float:
    """Return the factor for the knots that gives a mean deformation of 5 µm, or less if that would be too steep."""
    points = rng.uniform(low, high, (100_000, 3))
    mean = float(np.linalg.norm(unit.bend(points), axis=1).mean())
    steepest = float(np.linalg.norm(unit.jacobian(points) - np.eye(3), ord=2, axis=(1, 2)).max())
    return min(5.0 / mean, STEEPEST / steepest)
