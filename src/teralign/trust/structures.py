"""Both images on one coarse grid, reduced to their structures: what is compared to judge a map.

The fixed image is averaged to at most some million voxels. The moving image is averaged to about the same voxels and
warped onto its grid. Brightness is taken on a logarithmic scale and band-passed by a difference of Gaussians, so that
neither light nor bleaching nor background counts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from teralign.grids import Bools, Grid
from teralign.registration import Image
from teralign.registration.image import Volume32, compress_brightness, spacing_for
from teralign.transforms import Stack, warp

OVERVIEW_VOXELS = 2_000_000
"""Voxels of the overview of an image: enough to see cells in a section of a millimetre, and a second of work."""
_FINE, _COARSE = 0.8, 4.0  # voxels: the two Gaussians, which keep structures of 2 to 10 voxels
_BRIGHT = 75.0  # percentile of the fixed image above which its voxels count as foreground


@dataclass(frozen=True)
class Structures:
    """Structures of both images on the voxels (z, y, x) of `grid`, float32, 0 where there is nothing to compare.

    `bright` are the voxels of the fixed foreground, `moving_bright` those of the moving one, and `covered` those
    where both images have voxels that count.
    """

    grid: Grid
    fixed: Volume32
    moving: Volume32
    bright: Bools
    moving_bright: Bools
    covered: Bools


def overview(image: Image, voxels: int = OVERVIEW_VOXELS) -> Image:
    """Return the image averaged to at most about `voxels` voxels, as isotropic as whole factors allow."""
    return image.downsample_to(spacing_for(image.grid, voxels)).finite()


def structures_of(fixed: Image, moving: Image, transform: Stack, *, threads: int = 1) -> Structures:
    """Compare two overviews through `transform`, from fixed to moving points, on the grid of the fixed one."""
    grid = fixed.grid
    seen, covered = _warped(moving, transform, grid, threads)
    if fixed.mask is not None:
        covered &= fixed.mask
    fixed_log, moving_log = _log(fixed.array, fixed.mask), _log(seen, covered)
    counts = np.ones(grid.shape, bool) if fixed.mask is None else fixed.mask
    bright = (fixed_log > np.percentile(fixed_log[counts], _BRIGHT)) & counts if counts.any() else counts
    return Structures(
        grid=grid,
        fixed=_band(fixed_log, counts),
        moving=_band(moving_log, covered),
        bright=bright,
        moving_bright=_above_otsu(moving_log, covered),
        covered=covered,
    )


def _warped(moving: Image, transform: Stack, grid: Grid, threads: int) -> tuple[Volume32, Bools]:
    """Return the moving image on `grid`, float32, and which of its voxels lie inside it and count."""
    image = moving.array.astype(np.float32, copy=False)
    if moving.mask is not None:
        image = np.where(moving.mask, image, np.float32(np.nan))
    loaded = transform.load(grid.corners()[0], grid.corners()[-1])
    seen = warp(image, moving.grid, grid=grid, region=grid.region, transform=loaded, fill=np.nan, threads=threads)
    covered = np.isfinite(seen)
    return np.where(covered, seen, np.float32(0)), covered


def _log(array: Volume32, counts: Bools | None) -> Volume32:
    """Return the compressed brightness; voxels that do not count take the median of the others."""
    values = array.astype(np.float32, copy=False)
    if counts is None:
        return compress_brightness(values)
    if not counts.any():
        return np.zeros_like(values)
    return compress_brightness(np.where(counts, values, np.float32(np.median(values[counts]))))


def _band(values: Volume32, counts: Bools) -> Volume32:
    fine, coarse = (
        ndimage.gaussian_filter(values, sigma, mode="nearest", truncate=3.0) for sigma in (_FINE, _COARSE)
    )
    band: Volume32 = (fine - coarse) * counts
    return band


def _above_otsu(values: Volume32, counts: Bools) -> Bools:
    """Return the voxels that count above the threshold that splits them into the two most uniform classes."""
    chosen = values[counts]
    if chosen.size == 0 or chosen.min() == chosen.max():
        return np.zeros(values.shape, bool)
    histogram, edges = np.histogram(chosen, bins=256)
    middles = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(histogram)
    above = below[-1] - below
    sums = np.cumsum(histogram * middles)
    some = (below > 0) & (above > 0)
    apart = sums[some] / below[some] - (sums[-1] - sums[some]) / above[some]
    between = below[some].astype(np.float64) * above[some] * apart**2
    bright: Bools = (values > middles[some][np.argmax(between)]) & counts
    return bright
