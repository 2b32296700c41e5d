"""The tissue in an image, separated from the empty part of the field of view without any prior knowledge.

Two features, both over boxes of `_BOX`³ voxels: the mean, and the logarithm of the standard deviation, the texture.
The empty part is a peak of its own in the histogram of one of them: at the lowest texture, where there is only noise
(a slow gradient of its light adds little), and at a brightness, where that is the same everywhere. So values beyond
the valley after the first peak, in either feature, are tissue. Of the two sides of the brightness the empty one has
less texture: it may be the brighter. Boxes of one value (padding, masked voxels) are empty in any case.

A histogram without a valley is that of an image filled by tissue; then all of it counts. A threshold that is always
there (Otsu, triangle) would cut such an image in two. In doubt too much counts, which costs time; too little would
cost accuracy.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import ndimage

from teralign.grids import Bools, Floats
from teralign.registration.image import Image

_BOX = 5  # voxels
_CLIPPED = (0.1, 99.9)  # percentiles: specks must not set the range
_BINS = 128
_BLUR = 2.0  # bins
_VALLEY = 0.5  # of the lower of the two peaks beside it: tissue that fills the view has 0.7 and more
_EMPTIEST, _FULLEST = 0.005, 0.95  # limits of the share of tissue in an image with a real background
_CONTRAST = math.log(2)  # how much more texture tissue has than the background
_NO_TEXTURE = 1e-3  # of the range of values: the texture of a background without noise
_ONE_VALUE = 1e-6  # of the range of values: less is rounding
_GAP = 4  # voxels: gaps of twice that are tissue
_SPECK = 0.02  # of the largest component: smaller ones are dirt


def find_foreground(image: Image, *, margin: float) -> Bools:
    """Return which voxels (z, y, x) show tissue, or lie within about `margin` µm of it; all if no edge is found.

    Meant for an image of some 200 voxels a side. Holes are filled, in each plane as well, and specks left out. Voxels
    outside the image's own mask are never found. The same image gives the same mask.
    """
    found = _find(image, margin)
    return found if image.mask is None else found & image.mask


def _find(image: Image, margin: float) -> Bools:
    array = _filled(image)
    low, high = np.percentile(array, _CLIPPED)
    found: Bools = np.zeros(array.shape, dtype=bool)
    if high > low:
        mean, deviation = _moments(np.clip(array, low, high))
        texture = np.log(deviation / (high - low) + _NO_TEXTURE)
        found = _by_texture(texture, deviation > _ONE_VALUE * (high - low)) | _by_brightness(mean, texture)
    if not found.any():
        return np.ones(array.shape, dtype=bool)
    solid = _without_specks(_fill(_close(found)))
    return _grow(solid, [max(1, math.ceil(margin / d)) for d in image.grid.spacing])


def _filled(image: Image) -> Floats:
    """Return the voxels as float64; masked voxels get the median of the others."""
    array: Floats = image.array.astype(np.float64)
    if image.mask is not None and image.mask.any():
        array[~image.mask] = np.median(array[image.mask])
    return array


def _moments(array: Floats) -> tuple[Floats, Floats]:
    """Return the mean and the standard deviation in the box around each voxel."""
    middle = array.mean()
    centred = array - middle  # squares of large values would lose the digits of small deviations
    mean = ndimage.uniform_filter(centred, _BOX, mode="nearest")
    square = ndimage.uniform_filter(centred * centred, _BOX, mode="nearest")
    return mean + middle, np.sqrt(np.maximum(square - mean * mean, 0))


def _by_texture(texture: Floats, varies: Bools) -> Bools:
    """Return the voxels with more texture than the background, or with any texture if much of the image has none.

    A box that only touches tissue has its texture too, so the result is shrunk by half a box.
    """
    rough: Bools = varies & (texture > _valley(texture[varies]))
    rest = varies & ~rough
    if not rough.any() or texture[rough].mean() - texture[rest].mean() < _CONTRAST:
        rough = varies if varies.mean() < _FULLEST else np.zeros_like(varies)
    return _shrink(_fill(_close(rough)), [_BOX // 2] * 3)


def _by_brightness(mean: Floats, texture: Floats) -> Bools:
    """Return the voxels that are not as bright as the background."""
    bright: Bools = mean > _valley(mean)
    if not bright.any():
        return bright
    return ~bright if np.median(texture[bright]) < np.median(texture[~bright]) else bright


def _valley(values: Floats) -> float:
    """Return the value at the bottom of the first valley of the histogram; infinite if there is none."""
    return next(iter(find_valleys(values)), math.inf)


def find_valleys(values: Floats) -> list[float]:
    """Return the values (n,) at the bottoms of the valleys of a histogram, rising; none if it has one peak only.

    A valley is below half of the lower of the highest peaks before and after it.
    """
    low, high = np.percentile(values, (0.05, 99.95)) if values.size else (0, 0)
    if not high > low:
        return []
    counts, edges = np.histogram(values, bins=_BINS, range=(low, high))
    counts = ndimage.gaussian_filter1d(counts.astype(np.float64), _BLUR, mode="constant")
    peak_before, peak_after = np.maximum.accumulate(counts), np.maximum.accumulate(counts[::-1])[::-1]
    above = 1 - np.cumsum(counts) / counts.sum()
    depth = counts / np.minimum(peak_before, peak_after)
    deep = np.flatnonzero((depth < _VALLEY) & (above > _EMPTIEST) & (above < _FULLEST))
    if deep.size == 0:
        return []
    runs = np.split(deep, np.flatnonzero(np.diff(deep) > 1) + 1)
    bottoms = [run[np.argmin(depth[run])] for run in runs]
    return [float((edges[b] + edges[b + 1]) / 2) for b in bottoms]


def _close(found: Bools) -> Bools:
    return _shrink(_grow(found, [_GAP] * 3), [_GAP] * 3)


def _fill(found: Bools) -> Bools:
    """Return the mask without holes, in the whole and in each plane: tissue cut by a face has its holes there."""
    filled: Bools = ndimage.binary_fill_holes(found)
    for axis in range(3):
        plane = np.zeros((3, 3, 3), dtype=bool)
        plane[tuple(slice(1, 2) if a == axis else slice(None) for a in range(3))] = True
        filled |= ndimage.binary_fill_holes(filled, plane & ndimage.generate_binary_structure(3, 1))
    return filled


def _without_specks(found: Bools) -> Bools:
    labels, _ = ndimage.label(found)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    kept: Bools = (sizes > 0) & (sizes >= _SPECK * sizes.max())
    solid: Bools = kept[labels]
    return solid


def _grow(found: Bools, reach: list[int]) -> Bools:
    """Return the voxels within `reach` (z, y, x) voxels of a found voxel along each axis."""
    return _extreme(ndimage.maximum_filter, found, reach)


def _shrink(found: Bools, reach: list[int]) -> Bools:
    """Return the found voxels without any other voxel within `reach` (z, y, x) voxels along each axis."""
    return _extreme(ndimage.minimum_filter, found, reach)


def _extreme(of: Any, found: Bools, reach: list[int]) -> Bools:  # noqa: ANN401 - a filter of scipy, which has no types
    changed: Bools = of(found.view(np.uint8), size=[2 * r + 1 for r in reach], mode="nearest").astype(bool)
    return changed
