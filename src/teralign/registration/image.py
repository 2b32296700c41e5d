"""An image in memory: voxels, their grid, and a mask of those that count.

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

from teralign.grids import Bools, Floats, FloatTriple, Grid, Region, group_means, per_axis
from teralign.registration.padding import fill, find_padding

Array = NDArray[Any]
Volume32 = NDArray[np.float32]


@dataclass(frozen=True)
class Image:
    """Voxels (z, y, x) of any real dtype on a grid; `mask`, of the same shape, is True where a voxel counts."""

    array: Array
    grid: Grid
    mask: Bools | None = None

    def __post_init__(self) -> None:
        if self.array.shape != self.grid.shape:
            raise ValueError(f"an array of shape {self.array.shape} does not fit a grid of {self.grid.shape}")
        if self.mask is not None and self.mask.shape != self.array.shape:
            raise ValueError(f"a mask of shape {self.mask.shape} does not fit an image of {self.array.shape}")

    def finite(self) -> Image:
        """Return the image with NaNs and infinities masked out, and filled from the voxels beside them."""
        if self.array.dtype.kind != "f":
            return self
        data = np.isfinite(self.array)
        return self if data.all() else self._only(data)

    def without_padding(self, *, part: bool = False) -> Image:
        """Return the image, or a `part` of one, with padding masked out and filled from the voxels beside it."""
        padding = find_padding(self.array, part=part)
        return self if padding is None else self._only(~padding)

    def _only(self, data: Bools) -> Image:
        array = fill(self.array, data) if data.any() else np.zeros_like(self.array)
        return Image(array, self.grid, data if self.mask is None else self.mask & data)

    def crop(self, region: Region) -> Image:
        """Return the voxels of `region`, which are copied."""
        mask = None if self.mask is None else np.ascontiguousarray(self.mask[region.slices])
        return Image(np.ascontiguousarray(self.array[region.slices]), self.grid.crop(region), mask)

    def negative(self) -> Image:
        """Return the image with dark and bright exchanged, float32."""
        return Image(-self.array.astype(np.float32), self.grid, self.mask)

    def downsample(self, factors: Sequence[int]) -> Image:
        """Return the means over groups of `factors` (z, y, x) voxels, float32; half of a group must count."""
        factors = [min(f, n) for f, n in zip(factors, self.array.shape, strict=True)]
        if max(factors) == 1:
            return Image(self.array.astype(np.float32, copy=False), self.grid, self.mask)
        mask = None if self.mask is None else group_means(self.mask, factors) >= 0.5
        return Image(group_means(self.array, factors), self.grid.downsample(factors), mask)

    def downsample_to(self, spacing: float | FloatTriple) -> Image:
        """Return the image with voxels of about `spacing` µm (one, or z, y, x), by whole factors; never finer."""
        return self.downsample(self.grid.factors_to(spacing))

    def smooth(self, sigma: float | FloatTriple) -> Image:
        """Return the image blurred by a Gaussian of `sigma` µm (one, or z, y, x), float32."""
        array = self.array.astype(np.float32, copy=False)
        if max(per_axis(sigma)) > 0:
            sigmas = [s / d for s, d in zip(per_axis(sigma), self.grid.spacing, strict=True)]
            array = ndimage.gaussian_filter(array, sigmas, mode="nearest", truncate=3.0)
        return Image(array, self.grid, self.mask)

    def sample(self, points: ArrayLike) -> tuple[Volume32, Bools]:
        """Interpolate linearly at points (…, 3) µm; return the values, and which points lie inside and count."""
        index = np.moveaxis(self.grid.to_index(points), -1, 0)
        last = np.array(self.array.shape).reshape(3, *[1] * (index.ndim - 1)) - 1
        inside: Bools = np.all((index >= -0.5) & (index <= last + 0.5), axis=0)
        values: Volume32 = ndimage.map_coordinates(
            self.array, index, order=1, mode="nearest", output=np.float32, prefilter=False
        )
        if self.mask is not None:
            nearest = np.clip(np.rint(index).astype(np.intp), 0, last)
            inside &= self.mask[tuple(nearest)]
        return values, inside


def spacing_for(grid: Grid, voxels: int) -> float:
    """Return the isotropic spacing in µm that gives a grid at most `voxels` voxels; not below its finest."""
    volume = math.prod(grid.extent)
    return max(min(grid.spacing), math.cbrt(volume / voxels))


def mean_position(image: Image) -> Floats:
    """Return the centre of mass (z, y, x) µm of what exceeds the image's median; its middle if the image is flat."""
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


def compress_brightness(array: Volume32) -> Volume32:
    """Return brightness above the background on a logarithmic scale, so that the brightest parts do not dominate."""
    low, middle, high = np.percentile(array[::2, ::2, ::2], (1, 50, 99))
    scale = max(middle - low, 0.02 * (high - low), float(np.finfo(np.float32).tiny))
    result: Volume32 = np.log1p(np.clip(array - low, 0, None) / np.float32(scale))
    return result
