"""The two images of the deformable engine, clipped to where they vary, at any level."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from teralign.grids import Bools, Grid
from teralign.registration import deform_kernels as kernels
from teralign.registration.deform_kernels import F32, U8
from teralign.registration.image import Array, Image
from teralign.transforms.threads import ThreadPool

_CLIPPED = (
    1.0,
    99.95,
)  # percentiles of intensities: few bright cells must not rule; a darker clip loses accuracy
_SAMPLED = 64  # voxels along an axis are enough to know how intensities are distributed
_NO_MASK = np.empty((0, 0, 0), np.uint8)


@dataclass(frozen=True)
class LevelImage:
    """An image (z, y, x) at one level; the mask, of the same shape or empty, is 1 where a voxel counts."""

    array: F32
    mask: U8
    grid: Grid


@dataclass(frozen=True)
class ClippedImage:
    """An image as it was given, and the intensities between which it varies, with their standard deviation."""

    array: Array
    grid: Grid
    mask: Bools | None
    low: float
    high: float
    deviation: float

    @classmethod
    def of(cls, image: Image) -> ClippedImage:
        """Measure the intensities of an image where its mask lets it count."""
        array, mask = image.array, image.mask
        every = tuple(slice(None, None, max(1, n // _SAMPLED)) for n in array.shape)
        values = array[every] if mask is None or not mask[every].any() else array[every][mask[every]]
        low, high = (float(v) for v in np.percentile(values, _CLIPPED))
        return cls(array, image.grid, mask, low, high, float(np.clip(values, low, high).std()))

    def level(self, shrink: int, low: float, scale: float, pool: ThreadPool) -> LevelImage:
        """Return the means over groups of voxels that make it `shrink` times coarser, (clipped − low) · scale."""
        factors = self.grid.factors_to(shrink * min(self.grid.spacing))
        grid = self.grid.downsample(factors)
        group = np.array(factors, dtype=np.int64)
        image = np.empty(grid.shape, np.float32)
        pool.run(kernels.pool, grid.shape[0], self.array, group, low, max(self.high, low), scale, image)
        if self.mask is None:
            return LevelImage(image, _NO_MASK, grid)
        share = np.empty(grid.shape, np.float32)
        pool.run(kernels.pool, grid.shape[0], self.mask, group, 0.0, 1.0, 1.0, share)
        return LevelImage(image, (share >= 0.5).astype(np.uint8), grid)
