"""The level at which the noise of an image would vanish, from the image itself.

A camera's noise has the variance a · (v − v₀): the photons' part rises with the light, and v₀ lies below the dark
level by as much as the noise of reading is worth. Under the root of v − v₀ the noise is as strong in the dark as in
the light (F. J. Anscombe, The transformation of Poisson, binomial and negative-binomial data, Biometrika 35, 1948;
with the noise of reading: F. Murtagh, J.-L. Starck, A. Bijaoui, Image restoration with noise suppression using a
multiresolution support, Astronomy and Astrophysics Supplement 112, 1995). Under the root of what lies above the
darkest value it is stronger in the dark, where there is nothing to see.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from teralign.stitching.kernels import noise_sums

_LEVELS = 12
_LEAST = 50  # voxels of a level
_CLEAR = 0.1  # of the range of the values: nearer to the darkest, a root exaggerates what differs in the dark
_FURTHEST = 2.0  # times the range of the values: so far below them a root is nearly a line


def noiseless_level(crops: Sequence[NDArray[np.generic]], low: float, high: float) -> float:
    """Return v₀ of crops (z, y, x) of one camera, whose values lie mostly from `low` to `high`.

    The noise is that of second differences along x, by level, and v₀ is where a line through it is 0. It is kept a
    tenth of the range below `low`, and no further below it than noise of one strength needs.
    """
    if not high > low:
        return low
    least, most = low - _FURTHEST * (high - low), low - _CLEAR * (high - low)
    sums = np.zeros((_LEVELS, 3))
    for crop in crops:
        noise_sums(np.ascontiguousarray(crop), low, (high - low) / _LEVELS, sums)
    count, level, noise = sums[(sums[:, 0] >= _LEAST) & (sums[:, 2] > 0)].T
    if len(count) < 2:
        return least
    level, noise = level / count, noise / count
    weights = np.sqrt(count) / noise
    columns = np.stack([weights, weights * level], axis=1)
    constant, slope = np.linalg.lstsq(columns, weights * noise, rcond=None)[0]
    return min(most, max(least, float(-constant / slope))) if slope > 0 else least
