"""Displacement fields in memory: the map x ↦ x + u(x) from fixed to moving points.

u = (dz, dy, dx) in µm has values at the nodes of a grid of its own, coarser than the images. It is trilinear between
the nodes, and outside the grid it continues with its nearest value.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from teralign.grids import Floats, Grid, Region
from teralign.transforms.field_kind import FieldKind
from teralign.transforms.points import inverse_map_points, map_box, map_points

FIELD_STRIDE = 4
"""Default voxels between the nodes of a field; its error: docs/decisions/2026-11-21-field-node-stride.md."""
NODE_BYTES = 3 * 4
"""Bytes of a node: its displacement in float32."""
_LINEAR_DISPLACEMENTS = FieldKind()
ALL_NODES = Region((0, 0, 0), (0, 0, 0))
"""The region that stands for all nodes of a grid."""


@dataclass(frozen=True, eq=False)
class DisplacementField:
    """A field of `values` (z, y, x, 3) float32 in µm at the nodes `region` of `grid`, by default at all of them.

    With a part of the nodes, the field is valid for points whose surrounding nodes are all in that part. Raises
    ValueError when the shapes do not fit.
    """

    values: NDArray[np.float32]
    grid: Grid
    region: Region = ALL_NODES

    def __post_init__(self) -> None:
        if self.region == ALL_NODES:
            object.__setattr__(self, "region", self.grid.region)
        values = np.ascontiguousarray(self.values, dtype=np.float32)
        if values.shape != (*self.region.shape, 3):
            raise ValueError(f"a field on {self.region.shape} nodes cannot have values of shape {values.shape}")
        if self.region.intersect(self.grid.region) != self.region:
            raise ValueError(
                f"nodes {self.region.start} to {self.region.stop} are not all in a grid of {self.grid.shape}"
            )
        object.__setattr__(self, "values", values)

    @classmethod
    def zeros(cls, grid: Grid) -> DisplacementField:
        """Return the field that moves nothing."""
        return cls(np.zeros((*grid.shape, 3), np.float32), grid)

    @property
    def kind(self) -> FieldKind:
        """Displacements, interpolated linearly."""
        return _LINEAR_DISPLACEMENTS

    @property
    def affine(self) -> None:
        """None: a field is no affine."""
        return None

    @property
    def loaded(self) -> DisplacementField:
        """The field itself, which is in memory."""
        return self

    def load(self, low: ArrayLike, high: ArrayLike) -> DisplacementField:
        """Return the field itself."""
        return self

    def digest(self) -> str:
        """Return a fingerprint of the grid and the numbers."""
        digest = hashlib.sha256(repr((self.grid, self.region)).encode())
        digest.update(self.values.tobytes())
        return digest.hexdigest()

    def map_points(self, points: ArrayLike, *, threads: int = 1) -> Floats:
        """Return the images (n, 3) of the points (n, 3) in µm."""
        return map_points([self], points, threads=threads)

    def inverse_map_points(self, points: ArrayLike, *, threads: int = 1) -> tuple[Floats, NDArray[np.bool_]]:
        """Return the points whose images are `points` (n, 3), and a mask (n,) of those found.

        The image of a found point is its target to 1e-6 of a node spacing.
        """
        return inverse_map_points(self, points, threads=threads)

    def bounds(self, low: ArrayLike, high: ArrayLike) -> tuple[Floats, Floats]:
        """Return the low and high corner of a box that holds the image of a box (µm)."""
        return map_box([self], low, high)
