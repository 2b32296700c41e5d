"""Map points and boxes through loaded transforms, and points back through a field.

The inverse of a field is found by Newton's method on its interpolation: see `kernels.invert_points`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from teralign.grids import Floats
from teralign.transforms import kernels
from teralign.transforms.affine import Affine
from teralign.transforms.chain import FieldNodes, chain_of
from teralign.transforms.threads import over_ranges

INVERSE_TOLERANCE = 1e-6  # of the smallest node spacing: far below a thousandth of a voxel
_MIN_POINTS = 4096  # worth a thread


def map_points(parts: Sequence[Affine | FieldNodes], points: ArrayLike, *, threads: int = 1) -> Floats:
    """Return the images (n, 3) of the points (n, 3) in µm under `parts`, the last applied first."""
    chain = chain_of(parts)
    given = _as_points(points)
    mapped = np.empty_like(given)
    over_ranges(
        lambda first, last: kernels.map_points(first, last, given, mapped, chain),
        len(given),
        threads=threads,
        min_length=_MIN_POINTS,
    )
    return mapped


def inverse_map_points(
    field: FieldNodes, points: ArrayLike, *, guesses: Floats | None = None, threads: int = 1
) -> tuple[Floats, NDArray[np.bool_]]:
    """Return the points p (n, 3) that `field` maps to `points`, and a mask (n,) of those within INVERSE_TOLERANCE.

    The search begins at `guesses` (n, 3), by default at the points themselves.
    """
    chain = chain_of([field])
    given = _as_points(points)
    found = np.array(given if guesses is None else guesses, dtype=np.float64)
    residuals = np.empty(len(given))
    tolerance = INVERSE_TOLERANCE * min(field.grid.spacing)
    over_ranges(
        lambda first, last: kernels.invert_points(first, last, given, found, residuals, chain, tolerance),
        len(given),
        threads=threads,
        min_length=_MIN_POINTS,
    )
    return found, residuals <= tolerance


def map_box(parts: Sequence[Affine | FieldNodes], low: ArrayLike, high: ArrayLike) -> tuple[Floats, Floats]:
    """Return the low and high corner of a box that holds the image of a box (µm) under `parts`, the last first."""
    boxes = np.array([[low, high]], dtype=np.float64)
    mapped = np.empty_like(boxes)
    kernels.map_boxes(0, 1, boxes, mapped, chain_of(parts))
    return mapped[0, 0], mapped[0, 1]


def _as_points(points: ArrayLike) -> Floats:
    given = np.ascontiguousarray(points, dtype=np.float64)
    if given.ndim != 2 or given.shape[1] != 3:
        raise ValueError(f"points must be (n, 3), not {given.shape}")
    return given
