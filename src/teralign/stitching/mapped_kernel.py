"""The compiled loop of fusion for tiles that are turned, stretched or bent: each voxel has taps of its own."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from teralign.compiling import compiled_fast
from teralign.stitching.fusion_kernels import (
    COSINE_RAMP,
    DEEPEST,
    DEPTH,
    FAR,
    MEAN_OF_LEAST,
    MEAN_OF_PRODUCTS,
    Float32s,
)


@compiled_fast
def add_mapped_tile(
    voxels: NDArray[np.generic],
    first: NDArray[np.int64],
    shape: NDArray[np.int64],
    placed: tuple[NDArray[np.float64], NDArray[np.float64]],
    bends: tuple[Float32s, NDArray[np.int64], NDArray[np.int64]],
    ramp: NDArray[np.float64],
    kind: int,
    how: int,
    cubic: bool,
    balance: tuple[float, float],
    total: Float32s,
    weight: Float32s,
) -> None:
    """Add a tile with a map of its own to `total` and `weight` (z, y, x), a whole block, as `add_tile`.

    Output voxel i has its weight from its place linear · i + start in voxels of the tile, whose whole shape is
    `shape`; `placed` holds both. Its value is that at its place + a displacement: `bends` holds those (nz, ny, nx, 3)
    at nodes, by how many voxels (z, y, x) the first node lies before the block, and the voxels between nodes; without
    nodes there are none. Beyond faces the tile's last voxels are repeated. `voxels` begin at the tile's voxel
    `first`, and hold a voxel before and two behind each place that is seen. `ramp` (z, y, x) is the width of the ramp
    in voxels, or for distances the size of a voxel in µm, and 0 along an axis that does not count. Voxels of a row
    that lie between the same rows of the tile are computed together.
    """
    linear, start = placed
    bend, lead, strides = bends
    bent = bend.shape[0] > 0
    nodes = np.zeros((max(2, bend.shape[2]), 3), np.float32)
    gain, offset = np.float32(balance[0]), np.float32(balance[1])
    columns = total.shape[2]
    low = np.zeros((3, columns), np.int64)
    share = np.zeros((3, columns), np.float32)
    taps = np.zeros((3, 4, columns), np.float32)
    weights, line = np.zeros(columns, np.float32), np.zeros(columns, np.float32)
    begin, count = (-1, 4) if cubic else (0, 2)
    for z in range(total.shape[0]):
        for y in range(total.shape[1]):
            if bent:
                _between(bend, z + lead[0], y + lead[1], strides, nodes)
            for x in range(columns):
                product, least = 1.0, FAR
                k = (x + lead[2]) // strides[2]
                f = np.float32((x + lead[2]) % strides[2]) / np.float32(strides[2])
                beyond = False
                for c in range(3):
                    at = linear[c, 0] * z + linear[c, 1] * y + linear[c, 2] * x + start[c]
                    depth = min(at, shape[c] - 1 - at) + 0.5
                    if depth < 0 or at >= shape[c] - 0.5:
                        product = least = -1.0
                    elif ramp[c] > 0 and least >= 0:
                        w = depth * ramp[c] if kind == DEPTH else min(1.0, depth / ramp[c])
                        if kind == COSINE_RAMP and w < 1:
                            w = 0.5 - 0.5 * np.cos(np.pi * w)
                        product *= w
                        least = min(least, w)
                    if bent:
                        at += (1 - f) * nodes[k, c] + f * nodes[k + 1, c]
                        beyond = beyond or at < -0.5 or at > shape[c] - 0.5
                    at = min(max(at, -0.5), shape[c] - 0.5)
                    whole = np.floor(at)
                    low[c, x] = np.int64(whole) - first[c] + begin
                    share[c, x] = at - whole
                w = product if how == MEAN_OF_PRODUCTS else least
                weights[x] = 0.0 if least < 0 else 1e-6 if beyond else max(w, 1e-6)
            for c in range(3):
                taps_between(share[c], cubic, taps[c])
            x = 0
            while x < columns:
                if weights[x] == 0:
                    x += 1
                    continue
                stop = x + 1  # a run of voxels that lie between the same rows of the tile
                while (
                    stop < columns
                    and weights[stop] > 0
                    and low[0, stop] == low[0, x]
                    and low[1, stop] == low[1, x]
                    and low[2, stop] - stop == low[2, x] - x
                ):
                    stop += 1
                line[x:stop] = offset
                for i in range(count):
                    for j in range(count):
                        source = voxels[low[0, x] + i, low[1, x] + j, low[2, x] : low[2, x] + stop - x + count - 1]
                        for n in range(x, stop):
                            value = np.float32(0)
                            if cubic:
                                value = (
                                    taps[2, 0, n] * np.float32(source[n - x])
                                    + taps[2, 1, n] * np.float32(source[n - x + 1])
                                    + taps[2, 2, n] * np.float32(source[n - x + 2])
                                    + taps[2, 3, n] * np.float32(source[n - x + 3])
                                )
                            else:
                                value = taps[2, 0, n] * np.float32(source[n - x]) + taps[2, 1, n] * np.float32(
                                    source[n - x + 1]
                                )
                            line[n] += gain * taps[0, i, n] * taps[1, j, n] * value
                x = stop
            _add(line, weights, how, total[z, y], weight[z, y])


@compiled_fast
def _between(bend: Float32s, z: int, y: int, strides: NDArray[np.int64], out: Float32s) -> None:
    """Write the displacements (nodes, 3) along the row z, y, counted from the first node."""
    i, j = z // strides[0], y // strides[1]
    a, b = np.float32(z % strides[0]) / np.float32(strides[0]), np.float32(y % strides[1]) / np.float32(strides[1])
    for k in range(bend.shape[2]):
        for c in range(3):
            near = (1 - b) * bend[i, j, k, c] + b * bend[i, j + 1, k, c]
            far = (1 - b) * bend[i + 1, j, k, c] + b * bend[i + 1, j + 1, k, c]
            out[k, c] = (1 - a) * near + a * far


@compiled_fast
def taps_between(share: Float32s, cubic: bool, out: Float32s) -> None:
    """Write the weights (4, n) of the voxels around places that are `share` (n,) of a voxel beyond one of them."""
    half = np.float32(0.5)
    for x in range(len(share)):
        f = share[x]
        if cubic:
            out[0, x] = half * (-f + 2 * f * f - f * f * f)
            out[1, x] = half * (2 - 5 * f * f + 3 * f * f * f)
            out[2, x] = half * (f + 4 * f * f - 3 * f * f * f)
            out[3, x] = half * (f * f * f - f * f)
        else:
            out[0, x], out[1, x] = 1 - f, f


@compiled_fast
def _add(line: Float32s, weights: Float32s, how: int, total: Float32s, weight: Float32s) -> None:
    """Add a row of values to the sums; voxels of weight 0 are not in the tile."""
    for x in range(len(line)):
        w = weights[x]
        if w == 0:
            continue
        if how in (MEAN_OF_PRODUCTS, MEAN_OF_LEAST):
            total[x] += w * line[x]
            weight[x] += w
        elif how == DEEPEST:
            if w > weight[x]:
                total[x] = line[x]
                weight[x] = w
        elif weight[x] == 0 or line[x] > total[x]:
            total[x] = line[x]
            weight[x] = 1
