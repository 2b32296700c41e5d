"""Blocks that confirm a map: their structures agree best where the map says, not elsewhere.

For a block of the fixed image, r(d) is Pearson's correlation with the moving image shifted by d voxels, for all
shifts of up to `REACH` voxels an axis. The map is confirmed where the largest r within `_NEAR` voxels of the map
exceeds all r from `_FAR` voxels on; their difference is the margin.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import fft

from teralign.grids import Floats, Region, Triple
from teralign.registration.image import Volume32
from teralign.trust.structures import Structures

SIDE = 20
"""Voxels along the edge of a block: some cells, which no other place repeats."""
REACH = 8
"""Voxels: the largest shift along an axis."""
_NEAR, _FAR = 2, 5  # voxels: within the first a map is right, from the second on it is wrong
_BRIGHT, _COVERED, _MOVING_BRIGHT = 0.25, 0.75, 0.10  # least shares of a block's voxels
_INVERTED = -0.1  # median correlation at the map below which bright and dark are exchanged


@dataclass(frozen=True)
class Examined:
    """A block of the overview that was examined: its voxels, its margin, and its correlation where the map says."""

    region: Region
    margin: float
    here: float

    @property
    def confirmed(self) -> bool:
        """True if the block's structures agree best where the map says."""
        return self.margin > 0


def examine(structures: Structures) -> list[Examined]:
    """Return the blocks of the fixed foreground with their margins, in the order z, y, x."""
    regions = [region for region in _blocks(structures.grid.shape) if _has_enough(structures, region)]
    reach = [min(REACH, max(0, n // 4)) for n in structures.grid.shape]
    moving = np.pad(structures.moving, [(r, r) for r in reach])
    found = [_correlations(structures.fixed, moving, region, reach) for region in regions]
    centre = tuple(reach)
    here = [float(r[centre]) for r in found]
    sign = -1.0 if here and float(np.median(here)) < _INVERTED else 1.0
    distance = _distances(reach)
    return [
        Examined(region, _margin(sign * r, distance), sign * h)
        for region, r, h in zip(regions, found, here, strict=True)
    ]


def _blocks(shape: Triple) -> list[Region]:
    """Return the blocks of an overview: whole ones only, and one where an axis is shorter than a block."""
    axes = [[(a, min(n, a + SIDE)) for a in range(0, max(1, n - SIDE + 1), SIDE)] for n in shape]
    return [Region((z[0], y[0], x[0]), (z[1], y[1], x[1])) for z, y, x in itertools.product(*axes)]


def _has_enough(structures: Structures, region: Region) -> bool:
    needed = (
        (structures.bright, _BRIGHT),
        (structures.covered, _COVERED),
        (structures.moving_bright, _MOVING_BRIGHT),
    )
    return all(mask[region.slices].mean() >= share for mask, share in needed)


def _correlations(fixed: Volume32, padded: Volume32, region: Region, reach: Sequence[int]) -> Floats:
    """Return r(d) of a block, 2 reach + 1 shifts an axis; `padded` has `reach` more voxels on each side."""
    block = fixed[region.slices].astype(np.float64)
    block -= block.mean()
    window = Region(region.start, tuple(b + 2 * r for b, r in zip(region.stop, reach, strict=True)))  # type: ignore[arg-type]
    moving = padded[window.slices].astype(np.float64)
    moving -= moving.mean()
    shape = [fft.next_fast_len(n, real=True) for n in moving.shape]
    spectrum = np.conj(fft.rfftn(block, shape)) * fft.rfftn(moving, shape)
    shifts = tuple(slice(0, 2 * r + 1) for r in reach)
    products = fft.irfftn(spectrum, shape)[shifts]
    sums, squares = _box_sums(moving, block.shape), _box_sums(moving**2, block.shape)
    variance = squares - sums**2 / block.size
    power = variance * float((block**2).sum())
    # A window of one value, masked or outside, agrees with nothing.
    some = variance > 1e-9 * max(float(squares.max()), np.finfo(np.float64).tiny)
    result: Floats = np.where(some & (power > 0), products / np.sqrt(np.where(power > 0, power, 1)), 0.0)
    return result


def _box_sums(array: Floats, shape: Sequence[int]) -> Floats:
    """Return the sums over all boxes of `shape` that lie in `array`."""
    sums = array
    for axis, n in enumerate(shape):
        edge = np.insert(np.cumsum(sums, axis=axis), 0, 0, axis=axis)
        last = edge.shape[axis]
        sums = np.take(edge, range(n, last), axis=axis) - np.take(edge, range(last - n), axis=axis)
    return sums


def _distances(reach: Sequence[int]) -> Floats:
    """Return the largest shift along any axis, for all shifts."""
    axes = [np.abs(np.arange(-r, r + 1)) for r in reach]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    distance: Floats = np.maximum(np.maximum(z, y), x).astype(np.float64)
    return distance


def _margin(r: Floats, distance: Floats) -> float:
    far = distance >= _FAR
    return float(r[distance <= _NEAR].max() - (r[far].max() if far.any() else r.max()))
