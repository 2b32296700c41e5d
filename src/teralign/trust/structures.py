"""Both images on one coarse grid, reduced to their structures: what is compared to judge a map.

Each image is averaged to at most some million voxels, and the moving one warped onto the grid of the fixed one.
Brightness is taken on a logarithmic scale and band-passed: less its local mean, and blurred a little. So neither
light nor bleaching nor background counts.

Brightness is compared within regions, never across a surface between them (`surfaces`), nor across the edge of what
counts: an outline that both have in common says nothing of what it encloses.

Where an image shows structures, and not only noise, is found from its own voxels: the even voxels of a chequerboard
and the odd ones give two images of the same place, with noise of their own. Their local correlation is near 1 in
tissue and 0 ± 0.09 in noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from teralign.grids import Bools, Grid
from teralign.registration import Image
from teralign.registration.image import Volume32, compress_brightness, spacing_for
from teralign.transforms import Stack, warp
from teralign.trust.surfaces import Regions, blur, find_levels

OVERVIEW_VOXELS = 2_000_000
"""Voxels of the overview of an image: enough to see cells in a section of a millimetre, and a second of work."""
_FINE, _COARSE = 0.8, 4.0  # voxels: the two Gaussians, which keep structures of 2 to 10 voxels
_WINDOW = 14  # voxels along the edge of the boxes in which the halves of an image are compared
_REPEATED = 0.15  # correlation of the halves; at a signal-to-noise ratio of 1 tissue still has 0.3


@dataclass(frozen=True)
class Structures:
    """Structures of both images on the voxels (z, y, x) of `grid`, float32, 0 where there is nothing to compare.

    `fixed_shows` and `moving_shows` are the voxels where an image shows structures, and `covered` those where both
    images have voxels that count. No surface of the image lies beside voxels of `fixed_inside` and `moving_inside`.
    """

    grid: Grid
    fixed: Volume32
    moving: Volume32
    fixed_shows: Bools
    moving_shows: Bools
    covered: Bools
    fixed_inside: Bools
    moving_inside: Bools


def overview(image: Image, voxels: int = OVERVIEW_VOXELS) -> Image:
    """Return the image averaged to at most about `voxels` voxels, as isotropic as whole factors allow."""
    return image.downsample_to(spacing_for(image.grid, voxels)).finite()


def structures_of(fixed: Image, moving: Image, transform: Stack, *, threads: int = 1) -> Structures:
    """Compare two overviews through `transform`, from fixed to moving points, on the grid of the fixed one."""
    grid = fixed.grid
    transform = transform.load(grid.corners()[0], grid.corners()[-1])
    one, two = _seen(fixed), _seen(moving)
    brightness, covered = _warped(moving.array, moving, transform, grid, threads)
    shows, _ = _warped(_shows(two.flat).astype(np.float32), moving, transform, grid, threads)
    levels = two.regions.levels
    if levels is not None:
        seen, _ = _warped(levels.astype(np.float32), moving, transform, grid, threads)
        levels = np.rint(seen).astype(np.uint8)
    covered &= one.regions.counts
    regions = Regions.of(levels, covered)
    return Structures(
        grid=grid,
        fixed=blur(one.flat, _FINE) * one.regions.inside,
        moving=blur(regions.flatten(_log(brightness, covered), _COARSE), _FINE) * regions.inside,
        fixed_shows=_shows(one.flat) & one.regions.counts,
        moving_shows=(shows > 0.5) & covered,
        covered=covered,
        fixed_inside=one.regions.inside | ~one.regions.counts,
        moving_inside=regions.inside | ~covered,
    )


def without_steps(image: Image) -> Volume32:
    """Return the compressed brightness of an overview less its local mean, which is taken on one side of surfaces."""
    return _seen(image).flat


@dataclass(frozen=True)
class _Seen:
    """The regions of an overview, and its compressed brightness less the local mean in its region."""

    regions: Regions
    flat: Volume32


def _seen(image: Image) -> _Seen:
    counts = np.ones(image.grid.shape, bool) if image.mask is None else image.mask
    values = _log(image.array, counts)
    regions = Regions.of(find_levels(values, counts), counts)
    return _Seen(regions, regions.flatten(values, _COARSE))


def _warped(array: Volume32, image: Image, transform: Stack, grid: Grid, threads: int) -> tuple[Volume32, Bools]:
    """Return values of the voxels of `image` on `grid`, float32, and which of its voxels lie inside and count."""
    values = array.astype(np.float32, copy=False)
    if image.mask is not None:
        values = np.where(image.mask, values, np.float32(np.nan))
    seen = warp(values, image.grid, grid=grid, region=grid.region, transform=transform, fill=np.nan, threads=threads)
    covered = np.isfinite(seen)
    return np.where(covered, seen, np.float32(0)), covered


def _log(array: Volume32, counts: Bools) -> Volume32:
    """Return the compressed brightness; voxels that do not count take the median of the others."""
    values = array.astype(np.float32, copy=False)
    if not counts.any():
        return np.zeros_like(values)
    return compress_brightness(np.where(counts, values, np.float32(np.median(values[counts]))))


def _shows(flat: Volume32) -> Bools:
    """Return the voxels around which both halves of an image, even and odd voxels, show the same."""
    z, y, x = (np.arange(n) % 2 for n in flat.shape)
    odd = (z[:, None, None] ^ y[:, None] ^ x).astype(np.float32)
    one, two = (blur(flat * half, _FINE) / blur(half, _FINE) for half in (odd, 1 - odd))
    size = [min(_WINDOW, n) for n in flat.shape]

    def mean(product: Volume32) -> Volume32:
        averaged: Volume32 = ndimage.uniform_filter(product, size, mode="nearest")
        return averaged

    first, second = mean(one), mean(two)
    power = (mean(one * one) - first**2) * (mean(two * two) - second**2)
    # What varies a thousand times less than the image on the whole is rounding.
    floor = np.float32(1e-6) * float(one.var()) * float(two.var())
    shared = mean(one * two) - first * second
    shows: Bools = (power > floor) & (shared > _REPEATED * np.sqrt(np.maximum(power, 0)))
    return shows
