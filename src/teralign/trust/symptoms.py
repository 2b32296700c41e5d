"""Symptoms of a map that is not good: what two images show of its fault, for advice that names the cause.

- Structures that agree off the map by much the same way as those beside them: the field is too stiff to follow.
- Coarse brightness that agrees where structures do not: another channel of one tissue, or one outline of two tissues.
- Planes that agree at equal voxels, at whatever depths: a pattern that the camera puts into both images.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from teralign.grids import Floats, FloatTriple, Grid, as_float_triple
from teralign.registration import Image
from teralign.registration.image import Volume32, compress_brightness
from teralign.transforms import Stack, warp
from teralign.trust.confirmation import Examined, block_shape, examine
from teralign.trust.offsets import offsets_of
from teralign.trust.smoothed_map import MAP_SMOOTHING, smooth_map
from teralign.trust.structures import overview, structures_of, without_steps

_LEAST_BLOCKS = 8  # of which the offsets are compared with those of their neighbours
_BESIDE, _APART = 1.15, 0.99  # edges of a block, between the middles of those beside each other
_COARSE_VOXELS = 30_000  # of the images of which brightness is compared: no cell is told from the next
_LEAST_COVERED = 0.2  # share of the coarse voxels inside both images
_FINE, _SMOOTH = 0.5, 4.0  # voxels: a pattern of the camera lies between, in the mean of many planes
_REACH = 12  # voxels of shift, among which that of equal voxels must win
_LEAST_PLANES = 6


@dataclass(frozen=True)
class Drift:
    """Offsets of blocks from the map, as far as the blocks beside them have the same.

    They are `um` µm and `voxels` of the overview (root mean square), and `middle` (z, y, x) µm is their median. The
    part `shared` of the squares of all offsets is about 0 by chance.
    """

    um: float
    voxels: float
    middle: FloatTriple
    shared: float


@dataclass(frozen=True)
class Symptoms:
    """Numbers that the images show through a map; one is None where it cannot be measured.

    `drift` is how far blocks lie off the map together with those beside them. `coarse` is the correlation of the
    coarse brightness, through the map or at the recorded places. `pattern` is that of planes of different depth at
    equal voxels, 0 where another shift wins.
    """

    drift: Drift | None = None
    coarse: float | None = None
    pattern: float | None = None


def find_symptoms(fixed: Image, moving: Image, transform: Stack, *, threads: int = 1) -> Symptoms:
    """Return what two images along the axes of their volumes show through a map of points (z, y, x) in µm.

    Both are averaged to overviews first: it takes as long as a verdict does.
    """
    one, two = overview(fixed), overview(moving)
    sigma = as_float_triple(MAP_SMOOTHING * d for d in one.grid.spacing)
    smooth = smooth_map(transform, one.grid, sigma, threads=threads)
    blocks = examine(structures_of(one, two, smooth, threads=threads)).blocks
    known = [b for b in blocks if b.confirmed or b.refuted]
    offsets = offsets_of(known, transform, smooth, one.grid)
    drift = _drift(known, offsets, one.grid)
    return Symptoms(drift, _likeness(one, two, smooth, threads), _pattern(one, two))


def _drift(blocks: list[Examined], offsets: Floats, grid: Grid) -> Drift | None:
    """Compare the offset of each block with the median of those beside it, which share no voxel with it."""
    if len(blocks) < _LEAST_BLOCKS:
        return None
    shape = np.array(block_shape(grid.shape))
    centres = np.array([(np.array(b.region.start) + b.region.stop) / 2 for b in blocks]) / shape
    common, own = [], []
    for i, near in enumerate(cKDTree(centres).query_ball_point(centres, _BESIDE)):
        apart = [j for j in near if np.abs(centres[j] - centres[i]).max() >= _APART]
        if apart:
            common.append(np.median(offsets[apart], axis=0))
            own.append(offsets[i])
    if len(common) < _LEAST_BLOCKS:
        return None
    beside, here = np.array(common), np.array(own)
    return Drift(
        um=float(np.sqrt((beside**2).sum(axis=1).mean())),
        voxels=float(np.sqrt(((beside / np.array(grid.spacing)) ** 2).sum(axis=1).mean())),
        middle=as_float_triple(np.median(here, axis=0)),
        shared=float((beside * here).sum() / max(float((here**2).sum()), 1e-12)),
    )


def _likeness(fixed: Image, moving: Image, smooth: Stack, threads: int) -> float | None:
    """Return the stronger correlation of the coarse brightness, through the map or at the recorded places."""
    found = [_coarse(fixed, moving, stack, threads) for stack in (smooth, Stack())]
    return max((r for r in found if r is not None), key=abs, default=None)


def _coarse(fixed: Image, moving: Image, smooth: Stack, threads: int) -> float | None:
    """Return the correlation of the coarse brightness through the map; negative where bright and dark differ."""
    one, two = overview(fixed, _COARSE_VOXELS), overview(moving, _COARSE_VOXELS)
    inside = np.where(True if two.mask is None else two.mask, two.array.astype(np.float32), np.float32(np.nan))
    grid = one.grid
    seen = warp(inside, two.grid, grid=grid, region=grid.region, transform=smooth, fill=np.nan, threads=threads)
    counts = np.isfinite(seen) & (True if one.mask is None else one.mask)
    if counts.mean() < _LEAST_COVERED:
        return None
    values = compress_brightness(one.array), compress_brightness(np.where(counts, seen, np.float32(0)))
    return _correlation(*(image[counts] for image in values))


def _pattern(fixed: Image, moving: Image) -> float | None:
    """Return the correlation of planes of different depth at equal voxels, 0 where another shift wins.

    Tissue differs from depth to depth; what does not is of the camera. Images whose voxels differ are not compared.
    """
    one, two = fixed.grid, moving.grid
    if one.shape != two.shape or not np.allclose(one.spacing, two.spacing) or one.shape[0] < _LEAST_PLANES:
        return None
    halves = [_halves(image) for image in (fixed, moving)]
    found = [_at_rest(halves[0][a], halves[1][1 - a]) for a in (0, 1)]
    return min(found)


def _halves(image: Image) -> tuple[Floats, Floats]:
    """Return what the planes of the upper and of the lower half have in common, (y, x)."""
    planes = without_steps(image)
    third = max(1, image.grid.shape[0] // 3)
    upper, lower = (ndimage.gaussian_filter(half.mean(axis=0), _FINE) for half in (planes[:third], planes[-third:]))
    return upper - ndimage.gaussian_filter(upper, _SMOOTH), lower - ndimage.gaussian_filter(lower, _SMOOTH)


def _at_rest(one: Floats, two: Floats) -> float:
    """Return the correlation of two planes (y, x) at rest, or 0 if one of the shifts has a larger one."""
    reach = [min(_REACH, n // 4) for n in one.shape]
    inner = one[reach[0] : one.shape[0] - reach[0], reach[1] : one.shape[1] - reach[1]]
    shifts = [(y, x) for y in range(2 * reach[0] + 1) for x in range(2 * reach[1] + 1)]
    found = {s: _correlation(inner, two[s[0] : s[0] + inner.shape[0], s[1] : s[1] + inner.shape[1]]) for s in shifts}
    rest = found[(reach[0], reach[1])]
    return rest if rest >= max(found.values()) else 0.0


def _correlation(one: Floats | Volume32, two: Floats | Volume32) -> float:
    a, b = (image.astype(np.float64) - image.mean() for image in (one, two))
    power = float(np.sqrt((a**2).sum() * (b**2).sum()))
    return float((a * b).sum() / power) if power > 0 else 0.0
