"""Compiled loops of fusion: a tile, interpolated, weighed and added to a block of the output."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from teralign.compiling import compiled, compiled_fast

Float32s = NDArray[np.float32]

MEAN_OF_PRODUCTS, MEAN_OF_LEAST, DEEPEST, BRIGHTEST = range(4)
"""Ways to combine tiles: means weighed by products, or by the least, of the weights along the axes; the voxel that
lies deepest in its tile; the brightest voxel."""

FAR = 1e30
"""The depth along an axis that does not count."""

LINEAR_RAMP, COSINE_RAMP, DEPTH = range(3)
"""Kinds of weights by the depth in a tile: a linear ramp, a ramp of a cosine, the depth itself."""


@compiled_fast
def add_tile(
    voxels: NDArray[np.generic],
    taps: tuple[Float32s, Float32s, Float32s],
    weights: tuple[Float32s, Float32s, Float32s],
    how: int,
    balance: tuple[float, float],
    total: Float32s,
    weight: Float32s,
) -> None:
    """Add a tile to `total` and `weight` (z, y, x) float32, the parts of a block that it covers.

    Output voxel i is the sum over k of taps[axis][k] · voxels[i + k] along each axis, times the gain plus the offset
    of `balance`; `voxels` has len(taps[axis]) − 1 more along each axis. `weights` are those of the output voxels
    along each axis; `how` combines them, and tiles: see `MEAN_OF_PRODUCTS` and the others. For the last two `total`
    has the value chosen and `weight` what it was chosen by: the depth, or 1.
    """
    taps_z, taps_y, taps_x = taps
    weights_z, weights_y, weights_x = weights
    nz, ny, nx = total.shape
    kz, ky, kx = len(taps_z), len(taps_y), len(taps_x)
    rows, columns = ny + ky - 1, nx + kx - 1
    gain, offset = np.float32(balance[0]), np.float32(balance[1])
    plane = np.empty((rows, columns), np.float32)
    row, line = np.empty(columns, np.float32), np.empty(nx, np.float32)
    for z in range(nz):
        for y in range(rows):
            tap = taps_z[0] * gain
            for x in range(columns):
                plane[y, x] = tap * np.float32(voxels[z, y, x])
            for k in range(1, kz):
                tap = taps_z[k] * gain
                for x in range(columns):
                    plane[y, x] += tap * np.float32(voxels[z + k, y, x])
        for y in range(ny):
            for x in range(columns):
                row[x] = taps_y[0] * plane[y, x] + offset
            for k in range(1, ky):
                tap = taps_y[k]
                for x in range(columns):
                    row[x] += tap * plane[y + k, x]
            for x in range(nx):
                line[x] = taps_x[0] * row[x]
            for k in range(1, kx):
                tap = taps_x[k]
                for x in range(nx):
                    line[x] += tap * row[x + k]
            a, b = weights_z[z], weights_y[y]
            if how == MEAN_OF_PRODUCTS:
                a *= b
                for x in range(nx):
                    w = a * weights_x[x]
                    total[z, y, x] += w * line[x]
                    weight[z, y, x] += w
            elif how == MEAN_OF_LEAST:
                a = min(a, b)
                for x in range(nx):
                    w = min(a, weights_x[x])
                    total[z, y, x] += w * line[x]
                    weight[z, y, x] += w
            elif how == DEEPEST:
                a = min(a, b)
                for x in range(nx):
                    w = min(a, weights_x[x])
                    if w > weight[z, y, x]:
                        total[z, y, x] = line[x]
                        weight[z, y, x] = w
            else:
                for x in range(nx):
                    if weight[z, y, x] == 0 or line[x] > total[z, y, x]:
                        total[z, y, x] = line[x]
                        weight[z, y, x] = 1


@compiled
def finish(
    total: Float32s,
    weight: Float32s,
    divided: bool,
    limits: tuple[float, float],
    whole: bool,
    out: NDArray[np.generic],
) -> None:
    """Write means, or with `divided` off the totals, to `out` (z, y, x), 0 where no tile is.

    With `whole` values are rounded to the nearest whole number, and saturate at `limits`.
    """
    for z in range(out.shape[0]):
        for y in range(out.shape[1]):
            for x in range(out.shape[2]):
                w = weight[z, y, x]
                if w <= 0:
                    out[z, y, x] = 0
                    continue
                value = np.float64(total[z, y, x])
                if divided:
                    value /= w
                if whole:
                    value = min(max(np.rint(value), limits[0]), limits[1])
                out[z, y, x] = value
