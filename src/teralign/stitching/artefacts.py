"""Light and patterns that belong to the camera or the sheet, not to the tissue, taken out of two overlaps.

Both overlaps show the same tissue. So what their contrasts differ by along an axis is light. Where the mean over an
axis differs more between them than noise explains, there are shadows of the light sheet, dust or flickering planes,
which are strong in such means as nothing averages them out.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from teralign.grids import Floats, as_triple
from teralign.stitching.filters import downsample
from teralign.stitching.kernels import Image32

_CONTRAST_BLOCK = 4  # voxels
_LEAST_SLABS = 3
_USUAL_SLOPE = 0.05  # of the logarithm of the ratio of two variances, a block: strong vignetting
_SHORTEST_MEAN = 6  # voxels: along shorter axes light and patterns are not told from tissue
_WORTH_IT = 0.95  # weights above are not applied


def even_light(fixed: Image32, moving: Image32) -> None:
    """Scale two overlaps (z, y, x) of one shape in place so that contrasts fall off alike; they are roots of values.

    Vignetting falls off towards opposite sides of two tiles. A band-pass of structure times a slope is displaced
    structure, by up to a tenth of a voxel apart in the two. The ratio of contrasts is taken as exponential along y
    and x, and shared between both. Contrasts are deviations of means of blocks, in which there is little noise, from
    the mean of their slab across the axis. The mean of each overlap is taken out, as it has no contrast.
    """
    sizes = as_triple(min(_CONTRAST_BLOCK, max(1, n // _LEAST_SLABS)) for n in fixed.shape)
    low, high = (downsample(image, sizes) for image in (fixed, moving))
    for image, blocks in ((fixed, low), (moving, high)):
        image -= blocks.mean()
    for axis in (1, 2):
        count = low.shape[axis]
        others = tuple(k for k in range(3) if k != axis)
        a, b = np.var(low, axis=others), np.var(high, axis=others)
        if count < _LEAST_SLABS or min(a.min(), b.min()) <= 0:
            continue
        rise = _slope(np.log(b / a), np.sqrt(a * b)) / 2 / sizes[axis]
        n = fixed.shape[axis]
        along = [n if k == axis else 1 for k in range(3)]
        factor = np.exp(0.5 * rise * (np.arange(n) - (n - 1) / 2)).astype(np.float32).reshape(along)
        fixed *= factor
        moving /= factor


def _slope(values: Floats, weights: Floats) -> float:
    """Return the slope of a line through values (n,), drawn to 0 where its variance exceeds that of slopes."""
    count = len(values)
    weights = weights / weights.mean()
    place = np.arange(count) - np.average(np.arange(count), weights=weights)
    spread = float(weights * place @ place)
    slope = float(weights * place @ values) / spread
    rest = values - np.average(values, weights=weights) - slope * place
    variance = float(weights * rest @ rest) / max(1, count - 2) / spread
    return slope * _USUAL_SLOPE**2 / (_USUAL_SLOPE**2 + variance)


def damp_patterns(fixed: Image32, moving: Image32, coherence: Sequence[float]) -> None:
    """Weaken in place, in two band-passed overlaps (z, y, x) of one shape, what is constant along one or two axes.

    The overlaps are split into means over two axes, means over one less those, and the rest (analysis of variance).
    A mean whose difference between the overlaps has more variance than noise leaves is weakened to that,
    as the whitening of a matched filter does. `coherence` (3,) is for each axis the number of voxels over which noise
    must be averaged until its variance falls by the number of further voxels.
    """
    ff, mm, fm = (float(np.vdot(a, b)) / fixed.size for a, b in ((fixed, fixed), (moving, moving), (fixed, moving)))
    if min(ff, mm) <= 0:
        return
    scale = math.sqrt(ff / mm)
    noise = 2 * (ff - scale * fm)
    parts = list(zip(_means(fixed), _means(moving), strict=True))
    for axes, (a, b) in zip(_AXES, parts, strict=True):
        if any(fixed.shape[axis] < _SHORTEST_MEAN for axis in axes):
            continue
        left = math.prod(min(1.0, coherence[axis] / fixed.shape[axis]) for axis in axes)
        found = float(np.mean((a - scale * b) ** 2))
        weight = math.sqrt(noise * left / found) if found > 0 else 1.0
        if weight < _WORTH_IT:
            fixed -= np.float32(1 - weight) * a
            moving -= np.float32(1 - weight) * b


_AXES = [*itertools.combinations(range(3), 2), (0,), (1,), (2,)]


def _means(image: Image32) -> list[Image32]:
    """Return the means over the axes of `_AXES`, those over one axis less those over two, with axes kept."""
    single = [image.mean(axis=axis, keepdims=True) for axis in range(3)]
    double = [single[a].mean(axis=b, keepdims=True) for a, b in _AXES[:3]]
    rest = []
    for axis, mean in enumerate(single):
        for axes, of_two in zip(_AXES[:3], double, strict=True):
            mean = mean - of_two if axis in axes else mean
        rest.append(mean)
    return [*double, *rest]
