"""Fields in memory of every kind: displacements or coordinates, with linear, nearest or cubic interpolation.

A field of displacements maps x to x + v(x), one of coordinates maps x to v(x). Outside the grid v continues with its
nearest value. A cubic field interpolates the values at its nodes by natural splines, which do not bend at the ends of
the grid: so the displacements and the coordinates of a map give one map, and those of an affine give the affine.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from teralign.grids import Floats, Grid, Region
from teralign.transforms.affine import MAX_CONDITION, Affine
from teralign.transforms.field import ALL_NODES
from teralign.transforms.field_kind import FieldKind, Interpolation
from teralign.transforms.points import inverse_map_points, map_box, map_points

FITTED_NODES = 24
"""Nodes along each axis that are enough for the first guess: an affine has 12 numbers."""


@dataclass(frozen=True, eq=False)
class InterpolatedField:
    """A field of vectors (z, y, x, 3) float32 in µm at the nodes `region` of `grid`, by default at all of them.

    `values` of a cubic field are the coefficients of its B-splines: see `of_nodes`. Raises ValueError when the shapes
    do not fit.
    """

    values: NDArray[np.float32]
    grid: Grid
    kind: FieldKind
    region: Region = ALL_NODES

    def __post_init__(self) -> None:
        if self.region == ALL_NODES:
            object.__setattr__(self, "region", self.grid.region)
        values = np.ascontiguousarray(self.values, dtype=np.float32)
        if values.shape != (*self.region.shape, 3):
            raise ValueError(f"a field on {self.region.shape} nodes cannot have values of shape {values.shape}")
        object.__setattr__(self, "values", values)

    @classmethod
    def of_nodes(cls, vectors: ArrayLike, grid: Grid, kind: FieldKind) -> InterpolatedField:
        """Return the field that has the `vectors` (z, y, x, 3) in µm at all nodes of `grid`."""
        values: Floats = np.asarray(vectors, dtype=np.float64)
        if kind.interpolation is Interpolation.CUBIC:
            values = spline_coefficients(values)
        return cls(values.astype(np.float32), grid, kind)

    @property
    def affine(self) -> None:
        """None: a field is no affine."""
        return None

    @property
    def loaded(self) -> InterpolatedField:
        """The field itself, which is in memory."""
        return self

    def load(self, low: ArrayLike, high: ArrayLike) -> InterpolatedField:
        """Return the field itself."""
        return self

    def digest(self) -> str:
        """Return a fingerprint of the grid, the kind and the numbers."""
        digest = hashlib.sha256(repr((self.grid, self.region, self.kind)).encode())
        digest.update(self.values.tobytes())
        return digest.hexdigest()

    def map_points(self, points: ArrayLike, *, threads: int = 1) -> Floats:
        """Return the images (n, 3) of the points (n, 3) in µm."""
        return map_points([self], points, threads=threads)

    def inverse_map_points(self, points: ArrayLike, *, threads: int = 1) -> tuple[Floats, NDArray[np.bool_]]:
        """Return the points whose images are `points` (n, 3), and a mask (n,) of those found.

        The image of a found point is its target to 1e-6 of a node spacing. Steps of a nearest field have gaps, whose
        points are the image of none.
        """
        first = first_guess(self.kind, self.grid.crop(self.region), self.values)
        return inverse_map_points(self, points, guesses=first.map_points(points), threads=threads)

    def bounds(self, low: ArrayLike, high: ArrayLike) -> tuple[Floats, Floats]:
        """Return the low and high corner of a box that holds the image of a box (µm)."""
        return map_box([self], low, high)


def spline_coefficients(values: Floats) -> Floats:
    """Return the coefficients of the B-splines of the natural cubic spline through `values` (z, y, x, 3)."""
    from scipy import linalg  # late: seldom needed

    coefficients = values
    for axis in range(3):
        count = values.shape[axis]
        bands = np.repeat([[1 / 6], [4 / 6], [1 / 6]], count, axis=1)  # the B-splines of a node and its neighbours
        bands[1, [0, -1]] = 1.0  # no bending: the coefficient is the value
        bands[0, :2] = bands[2, -2:] = 0.0
        lines = np.moveaxis(coefficients, axis, 0)
        solved = linalg.solve_banded((1, 1), bands, lines.reshape(count, -1)) if count > 1 else lines
        coefficients = np.moveaxis(solved.reshape(lines.shape), 0, axis)
    return coefficients


def first_guess(kind: FieldKind, grid: Grid, values: NDArray[np.float32]) -> Affine:
    """Return an affine from the images of points to near the points: the inverse of the best fit of coordinates.

    For displacements it is the identity. `values` are those of all nodes of `grid`.
    """
    if not any(kind.absolute):
        return Affine.identity()
    some = tuple(slice(None, None, -(-n // FITTED_NODES)) for n in grid.shape)
    index = np.meshgrid(*(np.arange(n)[part] for n, part in zip(grid.shape, some, strict=True)), indexing="ij")
    nodes = grid.to_physical(np.stack(index, axis=-1).reshape(-1, 3))
    images = np.where(kind.absolute, 0.0, nodes) + values[some].reshape(-1, 3)
    design = np.hstack([nodes - nodes.mean(axis=0), np.ones((len(nodes), 1))])
    fit = np.linalg.lstsq(design, images, rcond=None)[0]
    # An axis with one node, or on which nothing depends, tells nothing: its coordinate is kept.
    linear = fit[:3].T + np.diag([1.0 if n == 1 else 0.0 for n in grid.shape]) * (1 - np.array(kind.absolute, float))
    matrix = np.eye(4)
    matrix[:3, :3] = linear
    matrix[:3, 3] = fit[3] - linear @ nodes.mean(axis=0)
    if not np.linalg.cond(linear) < MAX_CONDITION:
        return Affine.identity()
    return Affine(matrix).inverse()
