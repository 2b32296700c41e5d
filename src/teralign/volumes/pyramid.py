"""Pyramids: the axes that each level halves, and the voxels of a level from those of the level before.

Images are averaged over the voxels that fall into one, which keeps the voxel centres where `Grid.downsample` puts
them and removes detail that the coarser level cannot represent. Labels take the value that most of these voxels have.
"""

from __future__ import annotations

import itertools

import numpy as np

from teralign.grids import Grid, Triple, as_triple, group_means, product
from teralign.volumes.description import Voxels

_LARGEST_COARSEST = 256
_ISOTROPY = 1.5


def plan_levels(grid: Grid, count: int | None) -> tuple[tuple[Grid, ...], tuple[Triple, ...]]:
    """Return the grids of a pyramid, finest first, and the factors (z, y, x) of each to the finest.

    A level halves the axes whose voxels are smaller than 1.5 times the smallest, so that voxels become isotropic.
    `count` None: until no side is longer than 256 voxels. There are fewer levels if no axis can be halved.
    """
    grids, factors = [grid], [(1, 1, 1)]
    while len(grids) != count and (count is not None or max(grids[-1].shape) > _LARGEST_COARSEST):
        step = halved(grids[-1])
        if step == (1, 1, 1):
            break
        grids.append(grids[-1].downsample(step))
        factors.append(product(factors[-1], step))
    return tuple(grids), tuple(factors)


def halved(grid: Grid) -> Triple:
    """Return the factors (z, y, x), 2 or 1, from a level to the next coarser level."""
    divisible = [s for n, s in zip(grid.shape, grid.spacing, strict=True) if n > 1]
    limit = _ISOTROPY * min(divisible, default=0.0)
    return as_triple(2 if n > 1 and s < limit else 1 for n, s in zip(grid.shape, grid.spacing, strict=True))


def mean(array: Voxels, factors: Triple) -> Voxels:
    """Return the mean over groups of `factors` (z, y, x) voxels, rounded for integers, in the array's own dtype."""
    if array.dtype == np.bool_:
        return mode(array, factors)
    exact = np.float32 if array.dtype.itemsize < 4 or array.dtype == np.float32 else np.float64
    means = group_means(array, factors, dtype=exact)
    return (np.rint(means) if array.dtype.kind in "iu" else means).astype(array.dtype)


def mode(array: Voxels, factors: Triple) -> Voxels:
    """Return the most frequent value in groups of `factors` (z, y, x) voxels; of equally frequent ones, the first."""
    members = _members(array, factors)
    best, highest = members[0].copy(), np.zeros(members[0].shape, dtype=np.uint8)
    for candidate in members:
        count = np.zeros(best.shape, dtype=np.uint8)
        for other in members:
            count += candidate == other
        better = count > highest
        best[better], highest[better] = candidate[better], count[better]
    return best


def _members(array: Voxels, factors: Triple) -> list[Voxels]:
    """Return the first, second, … voxel of every group; incomplete groups are left out, as by `Grid.downsample`."""
    z, y, x = (n // f * f for n, f in zip(array.shape, factors, strict=True))
    whole = array[:z, :y, :x]
    offsets = itertools.product(*(range(f) for f in factors))
    return [whole[i :: factors[0], j :: factors[1], k :: factors[2]] for i, j, k in offsets]
