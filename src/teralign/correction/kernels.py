"""Compiled loops over planes of any type of number."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from teralign.compiling import compiled, compiled_fast

Plane32 = NDArray[np.float32]


@compiled
def block_means(plane: NDArray[np.generic], side: int, limit: float, means: Plane32, halves: Plane32) -> None:
    """Write the mean of each block of `side` voxels of a plane (y, x), and half the difference of its two colours.

    The colours are those of a chessboard: where the tissue is smooth, the difference is noise, and half of it has the
    standard deviation of the mean. Blocks with more than 1 % of voxels at `limit`, or half of them 0, become NaN.
    """
    for j in range(means.shape[0]):
        for i in range(means.shape[1]):
            even = odd = 0.0
            saturated = zeros = 0
            for y in range(j * side, (j + 1) * side):
                for x in range(i * side, (i + 1) * side):
                    value = np.float64(plane[y, x])
                    if (x + y) % 2:
                        odd += value
                    else:
                        even += value
                    saturated += int(value >= limit)
                    zeros += int(value == 0)
            size = side * side
            means[j, i] = (even + odd) / size
            halves[j, i] = (even - odd) / size
            if saturated * 100 > size or zeros * 2 >= size:
                means[j, i] = np.nan


@compiled_fast
def flatten(voxels: NDArray[np.generic], dark: Plane32, inverse: Plane32, out: NDArray[np.float32]) -> None:
    """Write (voxels − dark) · inverse (z, y, x); `dark` and `inverse` are (y, x)."""
    for z in range(voxels.shape[0]):
        for y in range(voxels.shape[1]):
            for x in range(voxels.shape[2]):
                out[z, y, x] = (np.float32(voxels[z, y, x]) - dark[y, x]) * inverse[y, x]
