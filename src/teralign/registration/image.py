"""An image in memory: voxels, where they lie, and which of them count.

Coarser versions are means over whole groups of voxels, so nothing aliases and every voxel stays where the group's
middle is (`Grid.downsample`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from teralign.grids import Floats, Grid, Triple

Array = NDArray[Any]
Volume32 = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Image:
    """Voxels (z, y, x) of any real dtype on a grid; `mask`, of the same shape, is True where they count."""

    array: Array
    grid: Grid
    mask: Mask | None = None

    def __post_init__(self) -> None:
        if self.array.shape != self.grid.shape:
            raise ValueError(f"an array of shape {self.array.shape} does not fit a grid of {self.grid.shape}")
        if self.mask is not None and self.mask.shape != self.array.shape:
            raise ValueError(f"a mask of shape {self.mask.shape} does not fit an image of {self.array.shape}")

    def finite(self) -> Image:
        """The image with NaNs and infinities set to 0 and masked out."""
        if self.array.dtype.kind != "f":
            return self
        good = np.isfinite(self.array)
        if good.all():
            return self
        mask = good if self.mask is None else self.mask & good
        return Image(np.where(good, self.array, 0), self.grid, mask)

    def negative(self) -> Image:
        """The image with dark and bright exchanged, float32."""
        return Image(-self.array.astype(np.float32), self.grid, self.mask)

    def coarsen(self, factors: Sequence[int]) -> Image:
        """The means over groups of `factors` (z, y, x) voxels, float32; a mask keeps groups of which half is in."""
        factors = [min(f, n) for f, n in zip(factors, self.array.shape, strict=True)]
        if max(factors) == 1:
            return Image(self.array.astype(np.float32, copy=False), self.grid, self.mask)
        mask = None if self.mask is None else group_means(self.mask, factors) >= 0.5
        return Image(group_means(self.array, factors), self.grid.downsample(factors), mask)

    def coarsen_to(self, spacing: float) -> Image:
        """The image with voxels of about `spacing` µm, by whole factors; never finer than it is."""
        return self.coarsen(factors_to(self.grid, spacing))

    def smooth(self, sigma: float) -> Image:
        """The image blurred by a Gaussian of `sigma` µm, float32."""
        array = self.array.astype(np.float32, copy=False)
        if sigma > 0:
            sigmas = [sigma / d for d in self.grid.spacing]
            array = ndimage.gaussian_filter(array, sigmas, mode="nearest", truncate=3.0)
        return Image(array, self.grid, self.mask)

    def sample(self, points: ArrayLike) -> tuple[Volume32, Mask]:
        """Linear interpolation at points (…, 3) µm: the values, and which points lie inside and in the mask."""
        index = np.moveaxis(self.grid.to_index(points), -1, 0)
        last = np.array(self.array.shape).reshape(3, *[1] * (index.ndim - 1)) - 1
        inside: Mask = np.all((index >= -0.5) & (index <= last + 0.5), axis=0)
        values: Volume32 = ndimage.map_coordinates(
            self.array, index, order=1, mode="nearest", output=np.float32, prefilter=False
        )
        if self.mask is not None:
            nearest = np.clip(np.rint(index).astype(np.intp), 0, last)
            inside &= self.mask[tuple(nearest)]
        return values, inside


def group_means(array: Array, factors: Sequence[int]) -> Volume32:
    """Means over groups of `factors` (z, y, x) voxels, float32; an incomplete last group is dropped."""
    means: Array = array
    for axis, f in enumerate(factors):
        n = means.shape[axis] // f
        parts = [means[(slice(None),) * axis + (slice(i, n * f, f),)] for i in range(f)]
        means = parts[0].astype(np.float32)
        for part in parts[1:]:
            means += part
    means /= np.float32(math.prod(factors))
    return means


def factors_to(grid: Grid, spacing: float) -> Triple:
    """The whole factors (z, y, x), at least 1, that bring the grid's voxels closest to `spacing` µm."""
    z, y, x = (max(1, min(n, round(spacing / d))) for d, n in zip(grid.spacing, grid.shape, strict=True))
    return z, y, x


def spacing_for(grid: Grid, voxels: int) -> float:
    """The isotropic spacing in µm at which the grid's extent has at most `voxels` voxels; not below its finest."""
    volume = math.prod(grid.extent)
    return max(min(grid.spacing), math.cbrt(volume / voxels))


def mean_position(image: Image) -> Floats:
    """The centre of mass (z, y, x) in µm of what is brighter than the image's median; its middle if all is flat."""
    array = image.array.astype(np.float32, copy=False)
    chosen = array if image.mask is None else array[image.mask]
    weight = np.clip(array - np.median(chosen), 0, None) if chosen.size else np.zeros_like(array)
    if image.mask is not None:
        weight = weight * image.mask
    total = float(weight.sum(dtype=np.float64))
    if total <= 0:
        return image.grid.centre
    sums = (weight.sum(axis=tuple(a for a in range(3) if a != axis), dtype=np.float64) for axis in range(3))
    return image.grid.to_physical([float(s @ np.arange(s.size)) / total for s in sums])
