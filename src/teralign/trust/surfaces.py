"""The surfaces of tissue in an overview, which say nothing of what lies between them.

Two tissues that were cut or grown alike have one outline, and so have two images that were cropped by one mask. Where
the outline is sharp it is the strongest structure of both, and it agrees even where the insides do not. So brightness
is compared on either side of a surface only, never across it.

A surface lies between regions of different brightness, of which each is a peak in the histogram: tissue, the medium
around it, the zeros around that. An image that tissue fills has one peak, and no surface. What is thinner than
`_THIN` voxels (cells, spots, vessels, fibres) is no region, but structure.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from teralign.grids import Bools, Floats
from teralign.registration import find_valleys
from teralign.registration.image import Volume32

LevelNumbers: TypeAlias = NDArray[np.uint8]

_MEAN_BOX = 5  # voxels: of the mean brightness of which the histogram is taken
_THIN = 11  # voxels: regions are at least as wide
_BESIDE = 3  # voxels on either side of a surface that do not count: its blur, and the error of its place
_SAMPLE = 5  # every so many voxels are in the histogram
_SPLITS = 2  # of a histogram, one after the other: padding, medium, tissue

_Filter: TypeAlias = Callable[..., Any]  # of scipy and numpy


@dataclass(frozen=True)
class Regions:
    """Regions of an image by brightness: their `levels` (z, y, x) as small numbers, None if there is but one.

    `counts` are the voxels of the image that count, and `inside` those of them that no surface is beside.
    """

    levels: LevelNumbers | None
    counts: Bools
    inside: Bools

    @classmethod
    def of(cls, levels: LevelNumbers | None, counts: Bools) -> Regions:
        """Return the regions of these levels; which levels voxels have that do not count plays no part."""
        if levels is None or not counts.any():
            return cls(None, counts, counts)
        side = 2 * _BESIDE + 1
        most = ndimage.maximum_filter(np.where(counts, levels, np.uint8(0)), side, mode="nearest")
        least = ndimage.minimum_filter(np.where(counts, levels, np.uint8(255)), side, mode="nearest")
        return cls(levels, counts, (most == least) & counts)

    def flatten(self, values: Volume32, sigma: float) -> Volume32:
        """Return the values less their mean around each voxel, by a Gaussian of `sigma` voxels within its region.

        Voxels beside a surface, and those that do not count, are 0.
        """
        if self.inside.all():
            return values - blur(values, sigma)
        flat = np.zeros_like(values)
        for level in [None] if self.levels is None else np.unique(self.levels[self.inside]):
            part = (self.inside if level is None else self.inside & (self.levels == level)).astype(np.float32)
            mean = blur(values * part, sigma) / np.maximum(blur(part, sigma), np.finfo(np.float32).tiny)
            flat += part * (values - mean)
        return flat


def find_levels(values: Volume32, counts: Bools) -> LevelNumbers | None:
    """Return the number of the region of each voxel (z, y, x), from dark to bright; None if one region fills all.

    `values` are compressed brightness. Regions thinner than `_THIN` voxels belong to what is around them.
    """
    mean = ndimage.uniform_filter(values, _MEAN_BOX, mode="nearest")
    between = _between(mean[counts][::_SAMPLE].astype(np.float64))
    if not between:
        return None
    levels = np.searchsorted(between, mean).astype(np.uint8)
    levels = _without_thin(levels, ndimage.grey_closing, ndimage.minimum_filter, np.maximum)
    levels = _without_thin(levels, ndimage.grey_opening, ndimage.maximum_filter, np.minimum)
    return levels if (levels != levels.flat[0]).any() else None


def _between(values: Floats, *, splits: int = _SPLITS) -> list[float]:
    """Return the values between the peaks of a histogram, rising.

    Each side of a valley is looked at again by itself: between two high peaks a lower one counts as valley.
    """
    found = find_valleys(values) if splits else []
    edges = [-math.inf, *found, math.inf]
    parts = [values[(values > low) & (values <= high)] for low, high in itertools.pairwise(edges)] if found else []
    return sorted([*found, *(value for part in parts for value in _between(part, splits=splits - 1))])


def _without_thin(levels: LevelNumbers, remove: _Filter, grow: _Filter, limit: _Filter) -> LevelNumbers:
    """Return levels without what is thinner than `_THIN` voxels, but with the thin parts of what is thicker.

    Without those parts a lobe of the outline would pass for structure.
    """
    size = [_THIN] * 3
    thick = remove(levels, size=size, mode="nearest")
    result: LevelNumbers = limit(levels, grow(thick, size=size, mode="nearest"))
    return result


def blur(values: Volume32, sigma: float) -> Volume32:
    """Return the values blurred by a Gaussian of `sigma` voxels."""
    blurred: Volume32 = ndimage.gaussian_filter(values, sigma, mode="nearest", truncate=3.0)
    return blurred
