"""The protocol that every map from fixed to moving points follows: affines, fields in memory, fields on disk."""

from __future__ import annotations

from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from teralign.grids import Floats, Grid
from teralign.transforms.affine import Affine
from teralign.transforms.field import DisplacementField
from teralign.transforms.interpolated_field import InterpolatedField

LoadedTransform: TypeAlias = Affine | DisplacementField | InterpolatedField
"""A transform in memory, which the compiled loops take."""


class Transform(Protocol):
    """A map of points (z, y, x) in µm. Immutable, and picklable."""

    @property
    def affine(self) -> Affine | None:
        """The transform as an affine; None for a field."""
        ...

    @property
    def grid(self) -> Grid | None:
        """The grid of all nodes of a field; None for an affine."""
        ...

    @property
    def loaded(self) -> LoadedTransform | None:
        """The transform itself if all of it is in memory, else None."""
        ...

    def load(self, low: ArrayLike, high: ArrayLike) -> LoadedTransform:
        """Return the same map for points of the box from `low` to `high` (µm), in memory.

        Raises DataError when it cannot be read.
        """
        ...

    def map_points(self, points: ArrayLike, *, threads: int = 1) -> Floats:
        """Return the images (n, 3) of the points (n, 3), both in µm."""
        ...

    def inverse_map_points(self, points: ArrayLike, *, threads: int = 1) -> tuple[Floats, NDArray[np.bool_]]:
        """Return the points (n, 3) whose images are `points` (n, 3), and a mask (n,) of those that were found."""
        ...

    def bounds(self, low: ArrayLike, high: ArrayLike) -> tuple[Floats, Floats]:
        """Return the low and high corner of a box that holds the image of the box from `low` to `high` (µm)."""
        ...

    def digest(self) -> str:
        """Return a fingerprint: of the numbers if they are in memory, else of the identity of the stored files."""
        ...
