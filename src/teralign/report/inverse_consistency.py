"""Inverse consistency: whether a map can be undone, at random points of the fixed volume."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from teralign.grids import Grid
from teralign.transforms import Stack

_POINTS = 4000


@dataclass(frozen=True)
class InverseConsistency:
    """Median and maximum in µm of the distances of `points` from their images under the map and back.

    At the share `lost_share` no way back was found: the map folds there.
    """

    points: int
    median: float | None
    maximum: float | None
    lost_share: float


def inverse_consistency(stack: Stack, grid: Grid, *, points: int = _POINTS, threads: int = 1) -> InverseConsistency:
    """Return the inverse consistency of a map over a grid; the points are the same for each call."""
    index = np.random.default_rng(0).uniform(0, 1, (points, 3)) * (np.array(grid.shape) - 1)
    there = grid.to_physical(index)
    back, found = stack.inverse_map_points(stack.map_points(there, threads=threads), threads=threads)
    distances = np.linalg.norm(back - there, axis=1)[found]
    return InverseConsistency(
        points,
        float(np.median(distances)) if len(distances) else None,
        float(distances.max()) if len(distances) else None,
        float(1 - found.mean()),
    )
