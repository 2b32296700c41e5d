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


@compiled_fast
def noise_cumulants(
    plane: NDArray[np.generic], kernel: Plane32, side: int, rows: tuple[int, int], second: Plane32, third: Plane32
) -> None:
    """Write the mean square and cube of the filtered plane (y, x) in blocks of `side` voxels, in some rows of them.

    `rows` are the first one and the step. Voxels too close to the plane's edges for the kernel are left out. The
    square is −1 in blocks with a voxel of 0, where what was below it is cut off.
    """
    radius = kernel.shape[0] // 2
    height, width = plane.shape
    row = np.empty(width, np.float32)
    for j in range(rows[0], second.shape[0], rows[1]):
        second[j] = 0
        third[j] = 0
        lines = range(max(j * side, radius), min((j + 1) * side, height - radius))
        for y in lines:
            row[:] = 0
            for dy in range(-radius, radius + 1):
                for dx in range(-radius, radius + 1):
                    weight = kernel[dy + radius, dx + radius]
                    for x in range(radius, width - radius):
                        row[x] += weight * np.float32(plane[y + dy, x + dx])
            for i in range(second.shape[1]):
                squares = cubes = np.float32(0)
                for x in range(max(i * side, radius), min((i + 1) * side, width - radius)):
                    squares += row[x] * row[x]
                    cubes += row[x] * row[x] * row[x]
                second[j, i] += squares
                third[j, i] += cubes
        for i in range(second.shape[1]):
            columns = range(max(i * side, radius), min((i + 1) * side, width - radius))
            count = max(len(lines) * len(columns), 1)  # none in small blocks at the edges
            second[j, i] /= count
            third[j, i] /= count
            if plane[j * side : (j + 1) * side, i * side : (i + 1) * side].min() == 0:
                second[j, i] = -1
