"""The compiled loops: rows of voxels, points and boxes through a chain of affines and fields, and sampling.

A `Chain` of k fields works in k + 2 frames: the input (voxel indices of the output image, or µm), the node indices of
field 1, …, of field k, and the output (voxel indices of the moving image, or µm). For q in the frame of field j,

    next = M_j q + G_j u_j(q),

with u_j in µm trilinear between the nodes and nearest outside the grid; the input goes to the first frame by M_0.

Every value is a function of global indices alone, computed in the same order of operations wherever a region is cut,
and nothing here lets the compiler reassociate. So no result depends on how work is split over blocks and threads.

Flat indices are cast to unsigned ones: numba then leaves out its test for negative indices. All loops are in this one
file because numba keeps compiled code until the file of the outermost function changes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

from teralign.grids import Floats

Ints = NDArray[np.int64]
Function = TypeVar("Function", bound=Callable[..., object])


class Chain(NamedTuple):
    """k fields with the affines around them, as flat arrays; k may be 0."""

    matrices: Floats  # (k + 1, 3, 4): the last column is the translation
    gains: Floats  # (k, 3, 3): what a displacement of field j in µm adds in the next frame
    shapes: Ints  # (k, 3): nodes of each field's grid
    starts: Ints  # (k, 3): the first node that is in memory
    holds: Ints  # (k, 3): how many nodes are in memory
    offsets: Ints  # (k,): where each field begins in `nodes`
    nodes: NDArray[np.float32]  # (z, y, x, 3) of each field, one after the other, flat
    aligned: bool  # k > 0, and rows of the input are rows of the first field: M_0 is diagonal
    entry: Floats  # (3, 4): M_1 M_0 when aligned, else M_0


def compiled(function: Function) -> Function:
    """Compile without the GIL, and keep the result on disk where there is a folder that can be written."""
    try:
        return cast("Function", numba.njit(cache=True, nogil=True)(function))
    except RuntimeError:  # no cache folder: both the installation and the home are read-only
        return cast("Function", numba.njit(nogil=True)(function))


# --- from frame to frame -------------------------------------------------------------------------------------------


@compiled
def _cell(t: float, count: int) -> tuple[int, float]:
    """The node below `t` (clamped to the grid of `count` nodes, one axis), and the weight of the node above."""
    t = min(max(t, 0.0), count - 1.0)
    k = max(min(int(t), count - 2), 0)
    return k, t - k


@compiled
def _held(k: int, start: int, count: int) -> int:
    """Where node `k` is in memory; the nearest that is, if it is not: no read is ever out of bounds."""
    return min(max(k - start, 0), count - 1)


@compiled
def _displacement(chain: Chain, j: int, z: float, y: float, x: float) -> tuple[float, float, float]:
    """The displacement of field `j` in µm at node index (z, y, x)."""
    shape, start, hold = chain.shapes[j], chain.starts[j], chain.holds[j]
    kz, wz = _cell(z, shape[0])
    ky, wy = _cell(y, shape[1])
    kx, wx = _cell(x, shape[2])
    z0, z1 = _held(kz, start[0], hold[0]), _held(kz + 1, start[0], hold[0])
    y0, y1 = _held(ky, start[1], hold[1]), _held(ky + 1, start[1], hold[1])
    x0, x1 = _held(kx, start[2], hold[2]), _held(kx + 1, start[2], hold[2])
    row00 = chain.offsets[j] + 3 * hold[2] * (z0 * hold[1] + y0)
    row01 = chain.offsets[j] + 3 * hold[2] * (z0 * hold[1] + y1)
    row10 = chain.offsets[j] + 3 * hold[2] * (z1 * hold[1] + y0)
    row11 = chain.offsets[j] + 3 * hold[2] * (z1 * hold[1] + y1)
    u0 = _blend(chain.nodes, row00, row01, row10, row11, 3 * x0, 3 * x1, wz, wy, wx)
    u1 = _blend(chain.nodes, row00, row01, row10, row11, 3 * x0 + 1, 3 * x1 + 1, wz, wy, wx)
    u2 = _blend(chain.nodes, row00, row01, row10, row11, 3 * x0 + 2, 3 * x1 + 2, wz, wy, wx)
    return u0, u1, u2


@compiled
def _blend(
    nodes: NDArray[np.float32],
    row00: int,
    row01: int,
    row10: int,
    row11: int,
    x0: int,
    x1: int,
    wz: float,
    wy: float,
    wx: float,
) -> float:
    """Trilinear mean of eight numbers, in four rows at two places."""
    return _trilinear(
        np.float64(nodes[np.uint64(row00 + x0)]),
        np.float64(nodes[np.uint64(row00 + x1)]),
        np.float64(nodes[np.uint64(row01 + x0)]),
        np.float64(nodes[np.uint64(row01 + x1)]),
        np.float64(nodes[np.uint64(row10 + x0)]),
        np.float64(nodes[np.uint64(row10 + x1)]),
        np.float64(nodes[np.uint64(row11 + x0)]),
        np.float64(nodes[np.uint64(row11 + x1)]),
        wz,
        wy,
        wx,
    )


@compiled
def _trilinear(
    v000: float,
    v001: float,
    v010: float,
    v011: float,
    v100: float,
    v101: float,
    v110: float,
    v111: float,
    wz: float,
    wy: float,
    wx: float,
) -> float:
    """Mean of the corners of a cell (zyx); exact where all are the same."""
    v00 = v000 + wx * (v001 - v000)
    v01 = v010 + wx * (v011 - v010)
    v10 = v100 + wx * (v101 - v100)
    v11 = v110 + wx * (v111 - v110)
    v0 = v00 + wy * (v01 - v00)
    v1 = v10 + wy * (v11 - v10)
    return v0 + wz * (v1 - v0)


@compiled
def _step(chain: Chain, j: int, z: float, y: float, x: float) -> tuple[float, float, float]:
    """From the frame of field `j` to the next."""
    m, g = chain.matrices[j + 1], chain.gains[j]
    a, b, c = _displacement(chain, j, z, y, x)
    return (
        m[0, 0] * z + m[0, 1] * y + m[0, 2] * x + m[0, 3] + (g[0, 0] * a + g[0, 1] * b + g[0, 2] * c),
        m[1, 0] * z + m[1, 1] * y + m[1, 2] * x + m[1, 3] + (g[1, 0] * a + g[1, 1] * b + g[1, 2] * c),
        m[2, 0] * z + m[2, 1] * y + m[2, 2] * x + m[2, 3] + (g[2, 0] * a + g[2, 1] * b + g[2, 2] * c),
    )


# --- points --------------------------------------------------------------------------------------------------------


@compiled
def map_points(first: int, last: int, points: Floats, mapped: Floats, chain: Chain) -> int:
    """Write where the points (n, 3) from `first` up to `last` go."""
    m = chain.matrices[0]
    for i in range(first, last):
        a, b, c = points[i, 0], points[i, 1], points[i, 2]
        z = m[0, 0] * a + m[0, 1] * b + m[0, 2] * c + m[0, 3]
        y = m[1, 0] * a + m[1, 1] * b + m[1, 2] * c + m[1, 3]
        x = m[2, 0] * a + m[2, 1] * b + m[2, 2] * c + m[2, 3]
        for j in range(chain.gains.shape[0]):
            z, y, x = _step(chain, j, z, y, x)
        mapped[i, 0], mapped[i, 1], mapped[i, 2] = z, y, x
    return 0


@compiled
def _slope(chain: Chain, z: float, y: float, x: float, axis: int) -> tuple[float, float, float]:
    """Derivative of field 0 along `axis` per node, in the cell that holds (z, y, x); 0 outside the grid."""
    t = z if axis == 0 else (y if axis == 1 else x)
    count = chain.shapes[0, axis]
    if count < 2 or t < 0 or t > count - 1:
        return 0.0, 0.0, 0.0
    below = float(_cell(t, count)[0])
    above = below + 1.0
    if axis == 0:
        a, b = _displacement(chain, 0, below, y, x), _displacement(chain, 0, above, y, x)
    elif axis == 1:
        a, b = _displacement(chain, 0, z, below, x), _displacement(chain, 0, z, above, x)
    else:
        a, b = _displacement(chain, 0, z, y, below), _displacement(chain, 0, z, y, above)
    return b[0] - a[0], b[1] - a[1], b[2] - a[2]


@compiled
def _determinant(
    a: tuple[float, float, float], b: tuple[float, float, float], c: tuple[float, float, float]
) -> float:
    return (
        a[0] * (b[1] * c[2] - b[2] * c[1]) - b[0] * (a[1] * c[2] - a[2] * c[1]) + c[0] * (a[1] * b[2] - a[2] * b[1])
    )


@compiled
def _newton_step(
    chain: Chain, z: float, y: float, x: float, r: tuple[float, float, float]
) -> tuple[float, float, float]:
    """What solves (1 + du/dx) d = r at node index (z, y, x), by Cramer's rule; r itself where the map folds."""
    m = chain.matrices[0]
    a, b, c = _slope(chain, z, y, x, 0), _slope(chain, z, y, x, 1), _slope(chain, z, y, x, 2)
    a = (1.0 + a[0] * m[0, 0], a[1] * m[0, 0], a[2] * m[0, 0])
    b = (b[0] * m[1, 1], 1.0 + b[1] * m[1, 1], b[2] * m[1, 1])
    c = (c[0] * m[2, 2], c[1] * m[2, 2], 1.0 + c[2] * m[2, 2])
    volume = _determinant(a, b, c)
    if volume < 1e-3:
        return r
    return _determinant(r, b, c) / volume, _determinant(a, r, c) / volume, _determinant(a, b, r) / volume


@compiled
def _residual(
    chain: Chain, p: tuple[float, float, float], target: tuple[float, float, float]
) -> tuple[float, float, float, float, float, float, float]:
    """What p + u(p) − target is in µm, its length, and the node index of p."""
    m = chain.matrices[0]
    z, y, x = m[0, 0] * p[0] + m[0, 3], m[1, 1] * p[1] + m[1, 3], m[2, 2] * p[2] + m[2, 3]
    u = _displacement(chain, 0, z, y, x)
    r0, r1, r2 = p[0] + u[0] - target[0], p[1] + u[1] - target[1], p[2] + u[2] - target[2]
    return r0, r1, r2, math.sqrt(r0 * r0 + r1 * r1 + r2 * r2), z, y, x


@compiled
def invert_points(
    first: int, last: int, points: Floats, found: Floats, residuals: Floats, chain: Chain, tolerance: float
) -> int:
    """Solve p + u(p) = point for the points (n, 3) in µm by Newton's method with halved steps.

    `chain` is one field between identities. Writes p and what is left of the equation, in µm; it is above
    `tolerance` where the method did not converge within 60 steps.
    """
    for i in range(first, last):
        target = (points[i, 0], points[i, 1], points[i, 2])
        p = target
        r0, r1, r2, size, z, y, x = _residual(chain, p, target)
        for _ in range(60):
            if not size > tolerance:
                break
            d = _newton_step(chain, z, y, x, (r0, r1, r2))
            share = 1.0
            while True:
                q = (p[0] - share * d[0], p[1] - share * d[1], p[2] - share * d[2])
                r0, r1, r2, left, z, y, x = _residual(chain, q, target)
                if left < size or share < 0.01:
                    break
                share *= 0.5
            p, size = q, left
        found[i, 0], found[i, 1], found[i, 2] = p
        residuals[i] = size
    return 0


# --- boxes ---------------------------------------------------------------------------------------------------------


@compiled
def _node_range(low: float, high: float, shape: int, start: int, hold: int) -> tuple[int, int]:
    """The nodes in memory, first and last, that values between `low` and `high` are made of."""
    below = _cell(low - 1e-9, shape)[0]
    above = _cell(high + 1e-9, shape)[0] + 1
    return _held(below, start, hold), _held(above, start, hold)


@compiled
def _box_of_nodes(chain: Chain, j: int, low: Floats, high: Floats, centre: Floats, half: Floats) -> None:
    """Write centre and half width of the displacements that field `j` has in a box of its index frame."""
    shape, start, hold = chain.shapes[j], chain.starts[j], chain.holds[j]
    z0, z1 = _node_range(low[0], high[0], shape[0], start[0], hold[0])
    y0, y1 = _node_range(low[1], high[1], shape[1], start[1], hold[1])
    x0, x1 = _node_range(low[2], high[2], shape[2], start[2], hold[2])
    least, most = np.full(3, np.inf), np.full(3, -np.inf)
    for z in range(z0, z1 + 1):
        for y in range(y0, y1 + 1):
            row = chain.offsets[j] + 3 * hold[2] * (z * hold[1] + y)
            for x in range(x0, x1 + 1):
                for c in range(3):
                    u = np.float64(chain.nodes[np.uint64(row + 3 * x + c)])
                    least[c] = min(least[c], u)
                    most[c] = max(most[c], u)
    for c in range(3):
        centre[c] = (least[c] + most[c]) / 2
        half[c] = (most[c] - least[c]) / 2


@compiled
def map_boxes(first: int, last: int, boxes: Floats, mapped: Floats, chain: Chain) -> int:
    """Write boxes (n, 2, 3) that hold the images of `boxes` (n, 2, 3), low and high corner.

    An affine widens a box to the box of its corners; a field adds the range of the nodes that the box touches. Both
    hold whatever lies inside; a slack of 1e-9 covers what rounding may add.
    """
    low, high, centre, half = np.empty(3), np.empty(3), np.empty(3), np.empty(3)
    moved, spread = np.zeros(3), np.zeros(3)
    for i in range(first, last):
        low[:], high[:] = boxes[i, 0], boxes[i, 1]
        for j in range(-1, chain.gains.shape[0]):
            if j >= 0:
                _box_of_nodes(chain, j, low, high, moved, spread)
            m = chain.matrices[j + 1]
            for c in range(3):
                centre[c], half[c] = (low[c] + high[c]) / 2, (high[c] - low[c]) / 2
            for c in range(3):
                middle, reach, scale = m[c, 3], 0.0, abs(m[c, 3])
                for d in range(3):
                    middle += m[c, d] * centre[d]
                    reach += abs(m[c, d]) * half[d]
                    scale += abs(m[c, d]) * (abs(centre[d]) + half[d])
                    if j >= 0:
                        middle += chain.gains[j, c, d] * moved[d]
                        reach += abs(chain.gains[j, c, d]) * spread[d]
                        scale += abs(chain.gains[j, c, d]) * (abs(moved[d]) + spread[d])
                reach += 1e-12 * scale
                low[c], high[c] = middle - reach, middle + reach
        mapped[i, 0], mapped[i, 1] = low, high
    return 0


# --- rows of voxels ------------------------------------------------------------------------------------------------


@compiled
def _field_line(chain: Chain, z: float, y: float, first: int, count: int, line: Floats) -> None:
    """Write what field 0 adds in the next frame at its nodes first, …, first + count − 1 of the row at (z, y)."""
    shape, start, hold = chain.shapes[0], chain.starts[0], chain.holds[0]
    kz, wz = _cell(z, shape[0])
    ky, wy = _cell(y, shape[1])
    z0, z1 = _held(kz, start[0], hold[0]), _held(kz + 1, start[0], hold[0])
    y0, y1 = _held(ky, start[1], hold[1]), _held(ky + 1, start[1], hold[1])
    row00, row01 = 3 * hold[2] * (z0 * hold[1] + y0), 3 * hold[2] * (z0 * hold[1] + y1)
    row10, row11 = 3 * hold[2] * (z1 * hold[1] + y0), 3 * hold[2] * (z1 * hold[1] + y1)
    g = chain.gains[0]
    for k in range(count):
        at = 3 * _held(first + k, start[2], hold[2])
        a = _bilinear(chain.nodes, row00 + at, row01 + at, row10 + at, row11 + at, wz, wy)
        b = _bilinear(chain.nodes, row00 + at + 1, row01 + at + 1, row10 + at + 1, row11 + at + 1, wz, wy)
        c = _bilinear(chain.nodes, row00 + at + 2, row01 + at + 2, row10 + at + 2, row11 + at + 2, wz, wy)
        line[0, k] = g[0, 0] * a + g[0, 1] * b + g[0, 2] * c
        line[1, k] = g[1, 0] * a + g[1, 1] * b + g[1, 2] * c
        line[2, k] = g[2, 0] * a + g[2, 1] * b + g[2, 2] * c


@compiled
def _bilinear(nodes: NDArray[np.float32], i00: int, i01: int, i10: int, i11: int, wz: float, wy: float) -> float:
    v00, v01 = np.float64(nodes[np.uint64(i00)]), np.float64(nodes[np.uint64(i01)])
    v10, v11 = np.float64(nodes[np.uint64(i10)]), np.float64(nodes[np.uint64(i11)])
    v0 = v00 + wy * (v01 - v00)
    v1 = v10 + wy * (v11 - v10)
    return v0 + wz * (v1 - v0)


@compiled
def _enter_field(chain: Chain, z: int, y: int, x: int, line: Floats, row: Floats) -> None:
    """Write the frame after field 0 of a row of voxels from (z, y, x), when rows of voxels are rows of nodes."""
    m, e = chain.matrices[0], chain.entry
    step, shift, last = m[2, 2], m[2, 3], chain.shapes[0, 2] - 1.0
    ends = (
        _cell(step * x + shift, chain.shapes[0, 2])[0],
        _cell(step * (x + row.shape[1] - 1) + shift, chain.shapes[0, 2])[0],
    )
    first = min(ends)
    _field_line(chain, m[0, 0] * z + m[0, 3], m[1, 1] * y + m[1, 3], first, max(ends) - first + 2, line)
    e0 = e[0, 0] * z + e[0, 1] * y + e[0, 3]
    e1 = e[1, 0] * z + e[1, 1] * y + e[1, 3]
    e2 = e[2, 0] * z + e[2, 1] * y + e[2, 3]
    for i in range(row.shape[1]):
        position = np.float64(x + i)
        t = min(max(step * position + shift, 0.0), last)
        k = np.int32(max(min(t, last - 1.0), 0.0))
        w = t - k
        at = np.uint32(k - np.int32(first))
        above = at + np.uint32(1)
        row[0, i] = e0 + e[0, 2] * position + (line[0, at] + w * (line[0, above] - line[0, at]))
        row[1, i] = e1 + e[1, 2] * position + (line[1, at] + w * (line[1, above] - line[1, at]))
        row[2, i] = e2 + e[2, 2] * position + (line[2, at] + w * (line[2, above] - line[2, at]))


@compiled
def map_row(chain: Chain, z: int, y: int, x: int, line: Floats, row: Floats) -> None:
    """Write where a row of voxels from (z, y, x) goes: `row` (3, n). `line` (3, nodes of field 0 + 2) is scratch."""
    e, done = chain.entry, 0
    if chain.aligned:
        _enter_field(chain, z, y, x, line, row)
        done = 1
    else:
        for c in range(3):
            start = e[c, 0] * z + e[c, 1] * y + e[c, 3]
            for i in range(row.shape[1]):
                row[c, i] = start + e[c, 2] * np.float64(x + i)
    for j in range(done, chain.gains.shape[0]):
        for i in range(row.shape[1]):
            row[0, i], row[1, i], row[2, i] = _step(chain, j, row[0, i], row[1, i], row[2, i])


# --- sampling ------------------------------------------------------------------------------------------------------


class Source(NamedTuple):
    """The part of the moving volume that is in memory."""

    volume: Ints  # (3,): voxels of the whole volume
    start: Ints  # (3,): the first voxel in memory
    held: Ints  # (3,): how many are


class Limits(NamedTuple):
    """How a value becomes one of the output."""

    rounded: bool  # to the nearest integer
    low: float  # the range of the output's type
    high: float


@compiled
def _inside(source: Source, z: float, y: float, x: float) -> bool:
    """Whether a position lies in the moving volume: at most half a voxel beyond the centres of the outermost."""
    n = source.volume
    return bool(-0.5 <= z <= n[0] - 0.5 and -0.5 <= y <= n[1] - 0.5 and -0.5 <= x <= n[2] - 0.5)


@compiled
def _address(source: Source, z: int, y: int, x: int) -> int:
    """The flat index of a voxel, the outermost for one outside the volume; −1 if it is not in memory."""
    z = min(max(z, 0), source.volume[0] - 1) - source.start[0]
    y = min(max(y, 0), source.volume[1] - 1) - source.start[1]
    x = min(max(x, 0), source.volume[2] - 1) - source.start[2]
    if z < 0 or y < 0 or x < 0 or z >= source.held[0] or y >= source.held[1] or x >= source.held[2]:
        return -1
    return int((z * source.held[1] + y) * source.held[2] + x)


@compiled
def _limit(value: float, limits: Limits) -> float:
    if limits.rounded:
        return float(min(max(np.rint(value), limits.low), limits.high))
    return value


@compiled
def _locate(source: Source, reach: int, row: Floats, bases: Floats, weights: Floats) -> None:
    """Write, for each position, the flat index of the voxel below it and the weights of those above.

    The index is −1 where the voxels from `reach` below to `reach` + 1 above are not all in memory. It is held as
    float64, exact up to 2⁵³, so that this loop compiles to vector instructions.
    """
    z0, y0, x0 = source.start[0] + reach, source.start[1] + reach, source.start[2] + reach
    z1 = source.start[0] + source.held[0] - 1.0 - reach
    y1 = source.start[1] + source.held[1] - 1.0 - reach
    x1 = source.start[2] + source.held[2] - 1.0 - reach
    height, width = np.float64(source.held[1]), np.float64(source.held[2])
    shift = -((source.start[0] * height + source.start[1]) * width + source.start[2])
    for i in range(row.shape[1]):
        z, y, x = row[0, i], row[1, i], row[2, i]
        here = (z >= z0) & (z < z1) & (y >= y0) & (y < y1) & (x >= x0) & (x < x1)
        kz, ky, kx = np.floor(z), np.floor(y), np.floor(x)
        weights[0, i], weights[1, i], weights[2, i] = z - kz, y - ky, x - kx
        bases[i] = (kz * height + ky) * width + kx + shift if here else -1.0


@compiled
def _linear_rim(flat: NDArray[Any], source: Source, row: Floats, i: int, weights: Floats) -> tuple[float, int]:
    """The value at position i of `row`, at the rim of the volume or of the region; and whether a voxel is missing."""
    z, y, x = int(np.floor(row[0, i])), int(np.floor(row[1, i])), int(np.floor(row[2, i]))
    corners = np.empty(8)
    for k in range(8):
        at = _address(source, z + (k >> 2), y + ((k >> 1) & 1), x + (k & 1))
        if at < 0:
            return 0.0, 1
        corners[k] = flat[at]
    c = corners
    wz, wy, wx = weights[0, i], weights[1, i], weights[2, i]
    return _trilinear(c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7], wz, wy, wx), 0


@compiled
def _linear_row(
    flat: NDArray[Any],
    source: Source,
    row: Floats,
    bases: Floats,
    weights: Floats,
    limits: Limits,
    fill: float,
    out: NDArray[Any],
) -> int:
    """Sample one channel along a row; returns how many voxels were needed but not in memory."""
    down, deep, one = np.uint64(source.held[2]), np.uint64(source.held[1] * source.held[2]), np.uint64(1)
    missing = 0
    for i in range(out.shape[0]):
        if bases[i] >= 0:
            at = np.uint64(np.int64(bases[i]))
            below = at + deep
            value = _trilinear(
                np.float64(flat[at]),
                np.float64(flat[at + one]),
                np.float64(flat[at + down]),
                np.float64(flat[at + down + one]),
                np.float64(flat[below]),
                np.float64(flat[below + one]),
                np.float64(flat[below + down]),
                np.float64(flat[below + down + one]),
                weights[0, i],
                weights[1, i],
                weights[2, i],
            )
            out[i] = _limit(value, limits)
        elif _inside(source, row[0, i], row[1, i], row[2, i]):
            value, lacks = _linear_rim(flat, source, row, i, weights)
            missing += lacks
            out[i] = _limit(value, limits)
        else:
            out[i] = fill
    return missing


@compiled
def warp_linear(
    first: int,
    last: int,
    out: NDArray[Any],
    flat: NDArray[Any],
    source: Source,
    limits: Limits,
    fill: float,
    region_start: Ints,
    chain: Chain,
) -> int:
    """Fill rows `first` up to `last` of `out` (c, z, y, x) from `flat` (c, voxels), trilinearly.

    Rows are counted over (z, y). Returns how many needed voxels were not in memory.
    """
    width, missing = out.shape[3], 0
    row, weights, bases = np.empty((3, width)), np.empty((3, width)), np.empty(width)
    line = _scratch_line(chain)
    for r in range(first, last):
        z, y = r // out.shape[2], r % out.shape[2]
        map_row(chain, region_start[0] + z, region_start[1] + y, region_start[2], line, row)
        _locate(source, 0, row, bases, weights)
        for c in range(out.shape[0]):
            missing += _linear_row(flat[c], source, row, bases, weights, limits, fill, out[c, z, y])
    return missing


@compiled
def _scratch_line(chain: Chain) -> Floats:
    return np.empty((3, chain.shapes[0, 2] + 2 if chain.aligned else 1))


@compiled
def _nearest_row(flat: NDArray[Any], source: Source, row: Floats, fill: float, out: NDArray[Any]) -> int:
    missing = 0
    for i in range(out.shape[0]):
        z, y, x = row[0, i], row[1, i], row[2, i]
        out[i] = fill
        if _inside(source, z, y, x):
            at = _address(source, int(np.floor(z + 0.5)), int(np.floor(y + 0.5)), int(np.floor(x + 0.5)))
            if at >= 0:
                out[i] = flat[at]
            else:
                missing += 1
    return missing


@compiled
def warp_nearest(
    first: int,
    last: int,
    out: NDArray[Any],
    flat: NDArray[Any],
    source: Source,
    limits: Limits,
    fill: float,
    region_start: Ints,
    chain: Chain,
) -> int:
    """As `warp_linear`, with the value of the nearest voxel; the upper one of two that are equally near."""
    missing = 0
    row, line = np.empty((3, out.shape[3])), _scratch_line(chain)
    for r in range(first, last):
        z, y = r // out.shape[2], r % out.shape[2]
        map_row(chain, region_start[0] + z, region_start[1] + y, region_start[2], line, row)
        for c in range(out.shape[0]):
            missing += _nearest_row(flat[c], source, row, fill, out[c, z, y])
    return missing


@compiled
def _catmull_rom(t: float) -> tuple[float, float, float, float]:
    """The weights of the nodes −1, 0, 1, 2 at 0 ≤ t < 1 (Keys 1981, a = −½)."""
    return (
        ((-0.5 * t + 1.0) * t - 0.5) * t,
        (1.5 * t - 2.5) * t * t + 1.0,
        ((-1.5 * t + 2.0) * t + 0.5) * t,
        (0.5 * t - 0.5) * t * t,
    )


@compiled
def _cubic_row(
    flat: NDArray[Any],
    source: Source,
    row: Floats,
    bases: Floats,
    weights: Floats,
    limits: Limits,
    fill: float,
    out: NDArray[Any],
) -> int:
    """Sample one channel along a row; returns how many voxels were needed but not in memory."""
    width, area, missing = source.held[2], source.held[1] * source.held[2], 0
    for i in range(out.shape[0]):
        here = bases[i] >= 0
        if not (here or _inside(source, row[0, i], row[1, i], row[2, i])):
            out[i] = fill
            continue
        wz, wy, wx = _catmull_rom(weights[0, i]), _catmull_rom(weights[1, i]), _catmull_rom(weights[2, i])
        corner = np.int64(bases[i]) - area - width - 1
        z, y, x = int(np.floor(row[0, i])) - 1, int(np.floor(row[1, i])) - 1, int(np.floor(row[2, i])) - 1
        value, lacks = 0.0, 0
        for dz in range(4):
            plane = 0.0
            for dy in range(4):
                line = 0.0
                for dx in range(4):
                    at = corner + dz * area + dy * width + dx if here else _address(source, z + dz, y + dy, x + dx)
                    if at >= 0:
                        line += wx[dx] * flat[np.uint64(at)]
                    else:
                        lacks = 1
                plane += wy[dy] * line
            value += wz[dz] * plane
        missing += lacks
        out[i] = _limit(value, limits)
    return missing


@compiled
def warp_cubic(
    first: int,
    last: int,
    out: NDArray[Any],
    flat: NDArray[Any],
    source: Source,
    limits: Limits,
    fill: float,
    region_start: Ints,
    chain: Chain,
) -> int:
    """As `warp_linear`, with Catmull-Rom splines over 4 × 4 × 4 voxels: they have no prefilter."""
    width, missing = out.shape[3], 0
    row, weights, bases = np.empty((3, width)), np.empty((3, width)), np.empty(width)
    line = _scratch_line(chain)
    for r in range(first, last):
        z, y = r // out.shape[2], r % out.shape[2]
        map_row(chain, region_start[0] + z, region_start[1] + y, region_start[2], line, row)
        _locate(source, 1, row, bases, weights)
        for c in range(out.shape[0]):
            missing += _cubic_row(flat[c], source, row, bases, weights, limits, fill, out[c, z, y])
    return missing


# --- folding -------------------------------------------------------------------------------------------------------


@compiled
def jacobians(first: int, last: int, values: NDArray[np.float32], spacing: Floats, out: NDArray[np.float32]) -> int:
    """Write, for planes `first` to `last` of nodes, the least determinant of 1 + du/dx in the cells at a node."""
    for z in range(first, last):
        for y in range(out.shape[1]):
            for x in range(out.shape[2]):
                least = np.inf
                for k in range(8):
                    a = _edge(values, z, y, x, 0, k >> 2, spacing[0])
                    b = _edge(values, z, y, x, 1, (k >> 1) & 1, spacing[1])
                    c = _edge(values, z, y, x, 2, k & 1, spacing[2])
                    least = min(least, _determinant(a, b, c))
                out[z, y, x] = least
    return 0


@compiled
def _edge(
    values: NDArray[np.float32], z: int, y: int, x: int, axis: int, forward: int, spacing: float
) -> tuple[float, float, float]:
    """How the map changes along an edge that ends at a node, per µm; at the faces the only edge that there is."""
    i = z if axis == 0 else (y if axis == 1 else x)
    count = values.shape[axis]
    one = (1.0 if axis == 0 else 0.0), (1.0 if axis == 1 else 0.0), (1.0 if axis == 2 else 0.0)
    if count < 2:
        return one
    low = min(max(i - 1 + forward, 0), count - 2)
    if axis == 0:
        a, b = values[low, y, x], values[low + 1, y, x]
    elif axis == 1:
        a, b = values[z, low, x], values[z, low + 1, x]
    else:
        a, b = values[z, y, low], values[z, y, low + 1]
    return (
        one[0] + (np.float64(b[0]) - a[0]) / spacing,
        one[1] + (np.float64(b[1]) - a[1]) / spacing,
        one[2] + (np.float64(b[2]) - a[2]) / spacing,
    )
