"""The compiled loops: rows of voxels, points and boxes through a chain of affines and fields, and sampling.

A `Chain` of k fields works in k + 2 frames: the input (voxel indices of the output image, or µm), the node indices of
field 1, …, of field k, and the output (voxel indices of the moving image, or µm). For q in the frame of field j,

    next = M_j q + G_j u_j(q),

with u_j in µm trilinear between the nodes and nearest outside the grid; the input goes to the first frame by M_0.
Fields of other methods take the nearest node, or a natural cubic spline: a sum of B-splines whose coefficients are
the nodes and continue beyond the ends on a straight line (Unser 1999, IEEE Signal Processing Magazine 16(6)).

Every value is a function of global indices alone, computed in the same order of operations wherever a region is cut,
and nothing here lets the compiler reassociate. So no result depends on how work is split over blocks and threads.

Flat indices are cast to unsigned ones: numba then leaves out its test for negative indices. All loops are in this one
file because numba keeps compiled code until the file of the outermost function changes. Its cache is by function and
first line, and names the classes here: renaming a class must move the functions, or an old cache cannot be read.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from teralign.compiling import compiled
from teralign.grids import Floats

Ints = NDArray[np.int64]
Values = NDArray[Any]  # of images of any type: the loops are compiled for each
Vector = tuple[float, float, float]
Real = TypeVar("Real", float, np.float32)
POINTS_AT_ONCE = 64  # points that go from frame to frame together
LINEAR_NODES, NEAREST_NODE, CUBIC_SPLINE = 0, 1, 2  # methods of fields


class Chain(NamedTuple):
    """k fields and the affines around them, as flat arrays; k may be 0."""

    matrices: Floats  # (k + 1, 3, 4): the last column is the translation
    gains: Floats  # (k, 3, 3): what a displacement of field j in µm adds in the next frame
    shapes: Ints  # (k, 3): nodes of each field's grid
    starts: Ints  # (k, 3): the first node that is in memory
    holds: Ints  # (k, 3): how many nodes are in memory
    offsets: Ints  # (k,): where each field begins in `nodes`
    nodes: NDArray[np.float32]  # (z, y, x, 3) of each field, one after the other, flat
    aligned: bool  # k > 0, and rows of the input are rows of the first field: M_0 is diagonal
    entry: Floats  # (3, 4): M_1 M_0 when aligned, else M_0
    methods: Ints  # (k,): LINEAR_NODES, NEAREST_NODE or CUBIC_SPLINE; the first field of an aligned chain is linear
    absolute: Ints  # (k, 3): 1 where a component of a field is a coordinate in µm instead of a displacement


# --- from frame to frame -------------------------------------------------------------------------------------------


@compiled
def _cell(t: float, count: int) -> tuple[int, float]:
    """Return the node below `t` (clamped to the `count` nodes of one axis), and the weight of the node above."""
    t = min(max(t, 0.0), count - 1.0)
    k = max(min(int(t), count - 2), 0)
    return k, t - k


@compiled
def _loaded_index(k: int, start: int, count: int) -> int:
    """Return the place of node `k` in memory, or of the nearest one there: no read is ever out of bounds."""
    return min(max(k - start, 0), count - 1)


class Nodes(NamedTuple):
    """The place of one field's nodes: numbers only, as passing arrays in a hot loop counts references."""

    shape: tuple[int, int, int]
    start: tuple[int, int, int]
    hold: tuple[int, int, int]
    offset: int
    method: int


@compiled
def _nodes_of(chain: Chain, j: int) -> Nodes:
    shape = (chain.shapes[j, 0], chain.shapes[j, 1], chain.shapes[j, 2])
    start = (chain.starts[j, 0], chain.starts[j, 1], chain.starts[j, 2])
    hold = (chain.holds[j, 0], chain.holds[j, 1], chain.holds[j, 2])
    return Nodes(shape, start, hold, chain.offsets[j], chain.methods[j])


@compiled
def _corners(where: Nodes, kz: int, ky: int, kx: int) -> tuple[int, int, int, int, int, int]:
    """Return the cell above node (kz, ky, kx) in the flat array: its four rows (z, y), and its two places in each."""
    height, width = where.hold[1], 3 * where.hold[2]
    z0, z1 = _loaded_index(kz, where.start[0], where.hold[0]), _loaded_index(kz + 1, where.start[0], where.hold[0])
    y0, y1 = _loaded_index(ky, where.start[1], height), _loaded_index(ky + 1, where.start[1], height)
    x0, x1 = _loaded_index(kx, where.start[2], where.hold[2]), _loaded_index(kx + 1, where.start[2], where.hold[2])
    below, above = where.offset + z0 * height * width, where.offset + z1 * height * width
    return below + y0 * width, below + y1 * width, above + y0 * width, above + y1 * width, 3 * x0, 3 * x1


@compiled
def _displacement(nodes: NDArray[np.float32], where: Nodes, z: float, y: float, x: float) -> Vector:
    """Return the displacement of a linear field in µm at node index (z, y, x)."""
    kz, wz = _cell(z, where.shape[0])
    ky, wy = _cell(y, where.shape[1])
    kx, wx = _cell(x, where.shape[2])
    r00, r01, r10, r11, x0, x1 = _corners(where, kz, ky, kx)
    return (
        _blend(nodes, r00, r01, r10, r11, x0, x1, wz, wy, wx),
        _blend(nodes, r00, r01, r10, r11, x0 + 1, x1 + 1, wz, wy, wx),
        _blend(nodes, r00, r01, r10, r11, x0 + 2, x1 + 2, wz, wy, wx),
    )


@compiled
def _blend(
    flat: Values,
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
    """Return the trilinear mean of eight numbers, in four rows at two places."""
    return _trilinear(
        np.float64(flat[np.uint64(row00 + x0)]),
        np.float64(flat[np.uint64(row00 + x1)]),
        np.float64(flat[np.uint64(row01 + x0)]),
        np.float64(flat[np.uint64(row01 + x1)]),
        np.float64(flat[np.uint64(row10 + x0)]),
        np.float64(flat[np.uint64(row10 + x1)]),
        np.float64(flat[np.uint64(row11 + x0)]),
        np.float64(flat[np.uint64(row11 + x1)]),
        wz,
        wy,
        wx,
    )


@compiled
def _trilinear(
    v000: Real,
    v001: Real,
    v010: Real,
    v011: Real,
    v100: Real,
    v101: Real,
    v110: Real,
    v111: Real,
    wz: Real,
    wy: Real,
    wx: Real,
) -> Real:
    """Return the weighted mean of the corners of a cell (zyx); exact if all are the same."""
    v00 = v000 + wx * (v001 - v000)
    v01 = v010 + wx * (v011 - v010)
    v10 = v100 + wx * (v101 - v100)
    v11 = v110 + wx * (v111 - v110)
    v0 = v00 + wy * (v01 - v00)
    v1 = v10 + wy * (v11 - v10)
    return v0 + wz * (v1 - v0)


# --- other interpolation -------------------------------------------------------------------------------------------

Quad = tuple[float, float, float, float]
Place4 = tuple[int, int, int, int]


@compiled
def _nearest_node(nodes: NDArray[np.float32], where: Nodes, z: float, y: float, x: float) -> Vector:
    """Return the values of the node nearest to node index (z, y, x), the upper one of two equally near."""
    kz = _loaded_index(int(min(max(np.floor(z + 0.5), 0.0), where.shape[0] - 1.0)), where.start[0], where.hold[0])
    ky = _loaded_index(int(min(max(np.floor(y + 0.5), 0.0), where.shape[1] - 1.0)), where.start[1], where.hold[1])
    kx = _loaded_index(int(min(max(np.floor(x + 0.5), 0.0), where.shape[2] - 1.0)), where.start[2], where.hold[2])
    at = where.offset + 3 * ((kz * where.hold[1] + ky) * where.hold[2] + kx)
    return (
        np.float64(nodes[np.uint64(at)]),
        np.float64(nodes[np.uint64(at + 1)]),
        np.float64(nodes[np.uint64(at + 2)]),
    )


@compiled
def _natural(w: Quad, k: int, count: int) -> Quad:
    """Return the weights of the nodes k − 1 to k + 2 such that nodes beyond the ends, on straight lines, get none."""
    a, b, c, d = w
    if count == 1:
        return (0.0, a + b + c + d, 0.0, 0.0)
    if k == 0:
        a, b, c = 0.0, b + 2.0 * a, c - a
    if k == count - 2:
        b, c, d = b - d, c + 2.0 * d, 0.0
    return (a, b, c, d)


@compiled
def _spline_weights(t: float, count: int) -> Quad:
    """Return the values of the cubic B-splines of the nodes −1, 0, 1, 2 around `t`, clamped to the grid."""
    k, w = _cell(t, count)
    v = 1.0 - w
    inner = 2.0 / 3.0 - w * w * (1.0 - w / 2.0), 2.0 / 3.0 - v * v * (1.0 - v / 2.0)
    return _natural((v * v * v / 6.0, inner[0], inner[1], w * w * w / 6.0), k, count)


@compiled
def _spline_slopes(t: float, count: int) -> Quad:
    """Return the derivatives of `_spline_weights`, per node."""
    k, w = _cell(t, count)
    v = 1.0 - w
    return _natural((-v * v / 2.0, w * (1.5 * w - 2.0), v * (2.0 - 1.5 * v), w * w / 2.0), k, count)


@compiled
def _spline_places(t: float, count: int, start: int, hold: int) -> Place4:
    """Return the places in memory, along an axis, of the nodes −1, 0, 1, 2 around `t`."""
    k = _cell(t, count)[0]
    return (
        _loaded_index(k - 1, start, hold),
        _loaded_index(k, start, hold),
        _loaded_index(k + 1, start, hold),
        _loaded_index(k + 2, start, hold),
    )


@compiled
def _spline(
    nodes: NDArray[np.float32], where: Nodes, z: float, y: float, x: float, wz: Quad, wy: Quad, wx: Quad
) -> Vector:
    """Return the weighted sums of the 4 × 4 × 4 nodes around node index (z, y, x)."""
    pz = _spline_places(z, where.shape[0], where.start[0], where.hold[0])
    py = _spline_places(y, where.shape[1], where.start[1], where.hold[1])
    px = _spline_places(x, where.shape[2], where.start[2], where.hold[2])
    a, b, c = 0.0, 0.0, 0.0
    for i in range(4):
        for j in range(4):
            row = where.offset + 3 * where.hold[2] * (pz[i] * where.hold[1] + py[j])
            for k in range(4):
                weight, at = wz[i] * wy[j] * wx[k], row + 3 * px[k]
                a += weight * np.float64(nodes[np.uint64(at)])
                b += weight * np.float64(nodes[np.uint64(at + 1)])
                c += weight * np.float64(nodes[np.uint64(at + 2)])
    return a, b, c


@compiled
def _spline_value(nodes: NDArray[np.float32], where: Nodes, z: float, y: float, x: float) -> Vector:
    """Return the values of a cubic field at node index (z, y, x)."""
    wz, wy = _spline_weights(z, where.shape[0]), _spline_weights(y, where.shape[1])
    return _spline(nodes, where, z, y, x, wz, wy, _spline_weights(x, where.shape[2]))


@compiled
def _value(nodes: NDArray[np.float32], where: Nodes, z: float, y: float, x: float) -> Vector:
    """Return the vector of a field of any method in µm at node index (z, y, x)."""
    if where.method == NEAREST_NODE:
        return _nearest_node(nodes, where, z, y, x)
    if where.method == CUBIC_SPLINE:
        return _spline_value(nodes, where, z, y, x)
    return _displacement(nodes, where, z, y, x)


@compiled
def _spline_differences(
    nodes: NDArray[np.float32], where: Nodes, z: float, y: float, x: float
) -> tuple[Vector, Vector, Vector]:
    """Return the derivatives along z, y and x, per node, of each component of a cubic field."""
    wz, wy = _spline_weights(z, where.shape[0]), _spline_weights(y, where.shape[1])
    wx = _spline_weights(x, where.shape[2])
    a = _spline(nodes, where, z, y, x, _spline_slopes(z, where.shape[0]), wy, wx)
    b = _spline(nodes, where, z, y, x, wz, _spline_slopes(y, where.shape[1]), wx)
    c = _spline(nodes, where, z, y, x, wz, wy, _spline_slopes(x, where.shape[2]))
    return (a[0], b[0], c[0]), (a[1], b[1], c[1]), (a[2], b[2], c[2])


@compiled
def _through_other_field(chain: Chain, j: int, row: Floats) -> None:
    """Take positions (3, n) from the frame of field `j`, which is not linear, to the next: the slower loop."""
    where, m, g = _nodes_of(chain, j), chain.matrices[j + 1], chain.gains[j]
    for i in range(row.shape[1]):
        z, y, x = row[0, i], row[1, i], row[2, i]
        v = _value(chain.nodes, where, z, y, x)
        for c in range(3):
            moved = m[c, 0] * z + m[c, 1] * y + m[c, 2] * x + m[c, 3]
            row[c, i] = moved + (g[c, 0] * v[0] + g[c, 1] * v[1] + g[c, 2] * v[2])


@compiled
def _through_field(chain: Chain, j: int, row: Floats) -> None:
    """Take positions (3, n) from the frame of field `j` to the next."""
    nodes, where = chain.nodes, _nodes_of(chain, j)
    if where.method != LINEAR_NODES:
        _through_other_field(chain, j, row)
        return
    m, g, n = chain.matrices, chain.gains, j + 1
    m00, m01, m02, m03 = m[n, 0, 0], m[n, 0, 1], m[n, 0, 2], m[n, 0, 3]
    m10, m11, m12, m13 = m[n, 1, 0], m[n, 1, 1], m[n, 1, 2], m[n, 1, 3]
    m20, m21, m22, m23 = m[n, 2, 0], m[n, 2, 1], m[n, 2, 2], m[n, 2, 3]
    g00, g01, g02, g10, g11, g12 = g[j, 0, 0], g[j, 0, 1], g[j, 0, 2], g[j, 1, 0], g[j, 1, 1], g[j, 1, 2]
    g20, g21, g22 = g[j, 2, 0], g[j, 2, 1], g[j, 2, 2]
    for i in range(row.shape[1]):
        z, y, x = row[0, i], row[1, i], row[2, i]
        a, b, c = _displacement(nodes, where, z, y, x)
        row[0, i] = m00 * z + m01 * y + m02 * x + m03 + (g00 * a + g01 * b + g02 * c)
        row[1, i] = m10 * z + m11 * y + m12 * x + m13 + (g10 * a + g11 * b + g12 * c)
        row[2, i] = m20 * z + m21 * y + m22 * x + m23 + (g20 * a + g21 * b + g22 * c)


# --- points --------------------------------------------------------------------------------------------------------


@compiled
def map_points(first: int, last: int, points: Floats, mapped: Floats, chain: Chain) -> int:
    """Write where the points (n, 3) from `first` up to `last` go."""
    m, block = chain.matrices, np.zeros((3, POINTS_AT_ONCE))
    for start in range(first, last, POINTS_AT_ONCE):
        count = min(POINTS_AT_ONCE, last - start)
        for i in range(count):
            a, b, c = points[start + i, 0], points[start + i, 1], points[start + i, 2]
            for d in range(3):
                block[d, i] = m[0, d, 0] * a + m[0, d, 1] * b + m[0, d, 2] * c + m[0, d, 3]
        for j in range(chain.gains.shape[0]):
            _through_field(chain, j, block)
        for i in range(count):
            for d in range(3):
                mapped[start + i, d] = block[d, i]
    return 0


@compiled
def _differences(
    nodes: NDArray[np.float32],
    r00: int,
    r01: int,
    r10: int,
    r11: int,
    x0: int,
    x1: int,
    wz: float,
    wy: float,
    wx: float,
) -> Vector:
    """Return the derivatives of the trilinear mean of eight numbers along z, y and x, per node."""
    bottom0 = _bilinear(nodes, r00 + x0, r00 + x1, r01 + x0, r01 + x1, wy, wx)
    top0 = _bilinear(nodes, r10 + x0, r10 + x1, r11 + x0, r11 + x1, wy, wx)
    bottom1 = _bilinear(nodes, r00 + x0, r00 + x1, r10 + x0, r10 + x1, wz, wx)
    top1 = _bilinear(nodes, r01 + x0, r01 + x1, r11 + x0, r11 + x1, wz, wx)
    bottom2 = _bilinear(nodes, r00 + x0, r01 + x0, r10 + x0, r11 + x0, wz, wy)
    top2 = _bilinear(nodes, r00 + x1, r01 + x1, r10 + x1, r11 + x1, wz, wy)
    return top0 - bottom0, top1 - bottom1, top2 - bottom2


@compiled
def _bilinear(nodes: NDArray[np.float32], i00: int, i01: int, i10: int, i11: int, w: float, v: float) -> float:
    a, b = np.float64(nodes[np.uint64(i00)]), np.float64(nodes[np.uint64(i01)])
    c, d = np.float64(nodes[np.uint64(i10)]), np.float64(nodes[np.uint64(i11)])
    low = a + v * (b - a)
    return low + w * (c + v * (d - c) - low)


@compiled
def _determinant(a: Vector, b: Vector, c: Vector) -> float:
    return (
        a[0] * (b[1] * c[2] - b[2] * c[1]) - b[0] * (a[1] * c[2] - a[2] * c[1]) + c[0] * (a[1] * b[2] - a[2] * b[1])
    )


@compiled
def _newton_step(
    nodes: NDArray[np.float32], where: Nodes, own: Vector, per_um: Vector, q: Vector, r: Vector
) -> Vector:
    """Return d of (own + du/dx) d = r at node index q, by Cramer's rule; r itself where the map nearly folds.

    `per_um` is the number of nodes per µm along each axis; outside the grid the field does not change. `own` is 1 for
    displacements, 0 for coordinates.
    """
    sz = per_um[0] if 0.0 <= q[0] <= where.shape[0] - 1 else 0.0
    sy = per_um[1] if 0.0 <= q[1] <= where.shape[1] - 1 else 0.0
    sx = per_um[2] if 0.0 <= q[2] <= where.shape[2] - 1 else 0.0
    if where.method == CUBIC_SPLINE:
        u0, u1, u2 = _spline_differences(nodes, where, q[0], q[1], q[2])
    elif where.method == NEAREST_NODE:
        u0, u1, u2 = (0.0, 0.0, 0.0), (0.0, 0.0, 0.0), (0.0, 0.0, 0.0)
    else:
        kz, wz = _cell(q[0], where.shape[0])
        ky, wy = _cell(q[1], where.shape[1])
        kx, wx = _cell(q[2], where.shape[2])
        r00, r01, r10, r11, x0, x1 = _corners(where, kz, ky, kx)
        u0 = _differences(nodes, r00, r01, r10, r11, x0, x1, wz, wy, wx)
        u1 = _differences(nodes, r00, r01, r10, r11, x0 + 1, x1 + 1, wz, wy, wx)
        u2 = _differences(nodes, r00, r01, r10, r11, x0 + 2, x1 + 2, wz, wy, wx)
    a = (own[0] + sz * u0[0], sz * u1[0], sz * u2[0])
    b = (sy * u0[1], own[1] + sy * u1[1], sy * u2[1])
    c = (sx * u0[2], sx * u1[2], own[2] + sx * u2[2])
    volume = _determinant(a, b, c)
    if volume < 1e-3:
        return r
    return _determinant(r, b, c) / volume, _determinant(a, r, c) / volume, _determinant(a, b, r) / volume


@compiled
def _between_nodes(t: Vector, own: Vector, per_um: Vector, shift: Vector, shape: tuple[int, int, int]) -> Vector:
    """Return the nearest point between the nodes along the axes of coordinates, where `own` is 0."""
    z = t[0] if own[0] else (min(max(per_um[0] * t[0] + shift[0], 0.0), shape[0] - 1.0) - shift[0]) / per_um[0]
    y = t[1] if own[1] else (min(max(per_um[1] * t[1] + shift[1], 0.0), shape[1] - 1.0) - shift[1]) / per_um[1]
    x = t[2] if own[2] else (min(max(per_um[2] * t[2] + shift[2], 0.0), shape[2] - 1.0) - shift[2]) / per_um[2]
    return z, y, x


@compiled
def invert_points(
    first: int, last: int, points: Floats, found: Floats, residuals: Floats, chain: Chain, tolerance: float
) -> int:
    """Solve p + u(p) = point for the points (n, 3) in µm by Newton's method with halved steps.

    `chain` is one field between identities, and `found` has the first guesses. Writes p and what is left of the
    equation, in µm; it is above `tolerance` where the method did not converge within 60 steps. A component of
    coordinates c is solved for c(p) = point, with p between the nodes along its axis.
    """
    nodes, where, m = chain.nodes, _nodes_of(chain, 0), chain.matrices
    per_um = (m[0, 0, 0], m[0, 1, 1], m[0, 2, 2])
    shift = (m[0, 0, 3], m[0, 1, 3], m[0, 2, 3])
    own = (1.0 - chain.absolute[0, 0], 1.0 - chain.absolute[0, 1], 1.0 - chain.absolute[0, 2])
    for i in range(first, last):
        target = (points[i, 0], points[i, 1], points[i, 2])
        p, r, size = (found[i, 0], found[i, 1], found[i, 2]), (0.0, 0.0, 0.0), np.inf
        step, share = r, 1.0
        for _ in range(60):
            t = (p[0] - share * step[0], p[1] - share * step[1], p[2] - share * step[2])
            t = _between_nodes(t, own, per_um, shift, where.shape)
            q = (per_um[0] * t[0] + shift[0], per_um[1] * t[1] + shift[1], per_um[2] * t[2] + shift[2])
            u = _value(nodes, where, q[0], q[1], q[2])
            left = (
                own[0] * t[0] + u[0] - target[0],
                own[1] * t[1] + u[1] - target[1],
                own[2] * t[2] + u[2] - target[2],
            )
            length = math.sqrt(left[0] * left[0] + left[1] * left[1] + left[2] * left[2])
            if length >= size and share > 0.01:
                share *= 0.5
                continue
            p, r, size, share = t, left, length, 1.0
            if size <= tolerance:
                break
            step = _newton_step(nodes, where, own, per_um, q, r)
        found[i, 0], found[i, 1], found[i, 2] = p[0], p[1], p[2]
        residuals[i] = size
    return 0


# --- boxes ---------------------------------------------------------------------------------------------------------


@compiled
def _node_range(low: float, high: float, shape: int, start: int, hold: int, more: int) -> tuple[int, int]:
    """Return the first and last node in memory that values between `low` and `high` depend on, and `more` beyond."""
    below = _cell(low - 1e-9, shape)[0] - more
    above = _cell(high + 1e-9, shape)[0] + 1 + more
    return _loaded_index(below, start, hold), _loaded_index(above, start, hold)


@compiled
def _add_nodes(chain: Chain, j: int, low: Floats, high: Floats, minimum: Floats, maximum: Floats) -> None:
    """Write the minimum and maximum displacement of field `j` in a box of its index frame."""
    where = _nodes_of(chain, j)
    more = 1 if where.method == CUBIC_SPLINE else 0
    z0, z1 = _node_range(low[0], high[0], where.shape[0], where.start[0], where.hold[0], more)
    y0, y1 = _node_range(low[1], high[1], where.shape[1], where.start[1], where.hold[1], more)
    x0, x1 = _node_range(low[2], high[2], where.shape[2], where.start[2], where.hold[2], more)
    for c in range(3):
        minimum[c], maximum[c] = np.inf, -np.inf
    for z in range(z0, z1 + 1):
        for y in range(y0, y1 + 1):
            row = where.offset + 3 * where.hold[2] * (z * where.hold[1] + y)
            for x in range(x0, x1 + 1):
                for c in range(3):
                    u = np.float64(chain.nodes[np.uint64(row + 3 * x + c)])
                    minimum[c] = min(minimum[c], u)
                    maximum[c] = max(maximum[c], u)
    if more:
        share = 1.0  # of the range of the coefficients: those beyond an end lie outside it by up to its width
        for d in range(3):
            share *= 3.0 if low[d] < 1.0 or high[d] > where.shape[d] - 2.0 else 1.0
        for c in range(3):
            wider = (share - 1.0) / 2.0 * (maximum[c] - minimum[c])
            minimum[c] -= wider
            maximum[c] += wider


@compiled
def map_boxes(first: int, last: int, boxes: Floats, mapped: Floats, chain: Chain) -> int:
    """Write boxes (n, 2, 3) that hold the images of `boxes` (n, 2, 3), low and high corner.

    An affine widens a box to the box of its corners; a field adds the range of the nodes that the box touches. Both
    hold whatever lies inside; a slack of 1e-12 of the numbers covers what rounding may add.
    """
    m, g = chain.matrices, chain.gains
    low, high, minimum, maximum = np.empty(3), np.empty(3), np.zeros(3), np.zeros(3)
    for i in range(first, last):
        for d in range(3):
            low[d], high[d] = boxes[i, 0, d], boxes[i, 1, d]
        for j in range(-1, g.shape[0]):
            if j >= 0:
                _add_nodes(chain, j, low, high, minimum, maximum)
            for c in range(3):
                middle, reach = m[j + 1, c, 3], 1e-12 * abs(m[j + 1, c, 3])
                for d in range(3):
                    a, half = m[j + 1, c, d], (high[d] - low[d]) / 2
                    middle += a * (low[d] + half)
                    reach += abs(a) * (half + 1e-12 * (abs(low[d]) + abs(high[d])))
                    if j >= 0:
                        b, spread = g[j, c, d], (maximum[d] - minimum[d]) / 2
                        middle += b * (minimum[d] + spread)
                        reach += abs(b) * (spread + 1e-12 * (abs(minimum[d]) + abs(maximum[d])))
                mapped[i, 0, c], mapped[i, 1, c] = middle - reach, middle + reach
            for d in range(3):
                low[d], high[d] = mapped[i, 0, d], mapped[i, 1, d]
    return 0


# --- rows of voxels ------------------------------------------------------------------------------------------------


class Rows(NamedTuple):
    """The part that all rows of a region share: positions of voxels, and their cells of field 0 if they are aligned.

    In a cell, where a voxel goes is linear in its index, so that a row is a list of bases and slopes. Outside the
    grid is a piece too, with the same node below and above.
    """

    positions: Floats  # (n,): the indices of the voxels
    ends: Ints  # (pieces,): the first voxel, counted in the row, that is beyond each cell
    below: NDArray[np.uint32]  # (pieces,): the nodes around each cell, counted from `first`
    above: NDArray[np.uint32]
    offsets: Floats  # (pieces,): how far voxel 0 is from the node below, in nodes
    first: int  # the first node that the rows need, of those in memory
    mixed: Floats  # (3 nodes,): scratch for the field at the nodes of one row
    line: Floats  # (3, nodes): scratch for what it adds in the next frame


@compiled
def make_rows(chain: Chain, x: int, width: int) -> Rows:
    """Return the part that the rows of `width` voxels from voxel `x` share."""
    positions, ends = np.empty(width), np.zeros(width, np.int64)
    cells, count = np.zeros(width, np.int64), 0
    for i in range(width):
        positions[i] = x + i
        if chain.aligned:
            at = np.floor(chain.matrices[0, 2, 2] * positions[i] + chain.matrices[0, 2, 3])
            cell = np.int64(min(max(at, -1.0), chain.shapes[0, 2] - 1.0))
            if count == 0 or cells[count - 1] != cell:
                cells[count] = cell
                count += 1
            ends[count - 1] = i + 1
    below, above, offsets = np.empty(count, np.uint32), np.empty(count, np.uint32), np.empty(count)
    first, nodes = 0, 0
    if count:
        start, hold, last = chain.starts[0, 2], chain.holds[0, 2], chain.shapes[0, 2] - 1
        outer = cells[0], cells[count - 1]
        first = start + _loaded_index(max(min(outer), 0), start, hold)
        nodes = start + _loaded_index(max(outer) + 1, start, hold) - first + 1
        for r in range(count):
            below[r] = _loaded_index(max(cells[r], 0), first, nodes)
            above[r] = _loaded_index(cells[r] + 1, first, nodes) if 0 <= cells[r] < last else below[r]
            offsets[r] = chain.matrices[0, 2, 3] - cells[r]
    return Rows(positions, ends, below, above, offsets, first, np.empty(3 * nodes), np.empty((3, nodes)))


@compiled
def _field_line(chain: Chain, z: float, y: float, rows: Rows) -> None:
    """Write what field 0 adds in the next frame at the nodes of the row at node index (z, y)."""
    where, nodes, mixed, line = _nodes_of(chain, 0), chain.nodes, rows.mixed, rows.line
    kz, wz = _cell(z, where.shape[0])
    ky, wy = _cell(y, where.shape[1])
    row00, row01, row10, row11, _, _ = _corners(where, kz, ky, where.start[2])
    at = 3 * (rows.first - where.start[2])
    for k in range(mixed.shape[0]):
        v00, v01 = np.float64(nodes[np.uint64(row00 + at + k)]), np.float64(nodes[np.uint64(row01 + at + k)])
        v10, v11 = np.float64(nodes[np.uint64(row10 + at + k)]), np.float64(nodes[np.uint64(row11 + at + k)])
        v0 = v00 + wy * (v01 - v00)
        v1 = v10 + wy * (v11 - v10)
        mixed[k] = v0 + wz * (v1 - v0)
    for c in range(3):
        g0, g1, g2 = chain.gains[0, c, 0], chain.gains[0, c, 1], chain.gains[0, c, 2]
        for k in range(line.shape[1]):
            u0, u1, u2 = mixed[np.uint64(3 * k)], mixed[np.uint64(3 * k + 1)], mixed[np.uint64(3 * k + 2)]
            line[c, k] = g0 * u0 + g1 * u1 + g2 * u2


@compiled
def _enter_field(chain: Chain, rows: Rows, z: int, y: int, row: Floats) -> None:
    """Write the frame after field 0 of the row of voxels at (z, y), when rows of voxels are rows of nodes.

    In a cell the field is p + (t − k) d with t = step · position + shift, so all is base + slope · position.
    """
    m, e, line, positions = chain.matrices, chain.entry, rows.line, rows.positions
    _field_line(chain, m[0, 0, 0] * z + m[0, 0, 3], m[0, 1, 1] * y + m[0, 1, 3], rows)
    step = m[0, 2, 2]
    for c in range(3):
        origin, along, out = e[c, 0] * z + e[c, 1] * y + e[c, 3], e[c, 2], row[c]
        i = 0
        for r in range(rows.below.shape[0]):
            p = line[c, rows.below[r]]
            d = line[c, rows.above[r]] - p
            base, slope = origin + p + rows.offsets[r] * d, along + step * d
            while i < rows.ends[r]:
                out[np.uint64(i)] = base + slope * positions[np.uint64(i)]
                i += 1


@compiled
def map_row(chain: Chain, rows: Rows, z: int, y: int, row: Floats) -> None:
    """Write where the row of voxels at (z, y) goes: `row` (3, n)."""
    done = 0
    if chain.aligned:
        _enter_field(chain, rows, z, y, row)
        done = 1
    else:
        e, positions = chain.entry, rows.positions
        for c in range(3):
            origin, along = e[c, 0] * z + e[c, 1] * y + e[c, 3], e[c, 2]
            for i in range(row.shape[1]):
                row[c, i] = origin + along * positions[i]
    for j in range(done, chain.gains.shape[0]):
        _through_field(chain, j, row)


# --- sampling ------------------------------------------------------------------------------------------------------


class LoadedVoxels(NamedTuple):
    """The part of the moving volume that is in memory."""

    volume: Ints  # (3,): voxels of the whole volume
    start: Ints  # (3,): the first voxel in memory
    shape: Ints  # (3,): the number of voxels in memory


class OutputRange(NamedTuple):
    """The conversion of a value to the type of the output."""

    rounded: bool  # to the nearest integer
    low: float  # the range of the output's type
    high: float


@compiled
def _inside(source: LoadedVoxels, z: float, y: float, x: float) -> bool:
    """Return whether a position is in the moving volume: at most half a voxel beyond the outermost centres."""
    n = source.volume
    return bool(-0.5 <= z <= n[0] - 0.5 and -0.5 <= y <= n[1] - 0.5 and -0.5 <= x <= n[2] - 0.5)


@compiled
def _place(source: LoadedVoxels, axis: int, i: int) -> int:
    """Return the place in memory of voxel i of an axis, or of the outermost if i is outside; negative if none."""
    at = min(max(i, 0), source.volume[axis] - 1) - source.start[axis]
    return int(at) if at < source.shape[axis] else -1


@compiled
def _limit(value: float, limits: OutputRange) -> float:
    if limits.rounded:
        return float(min(max(np.rint(value), limits.low), limits.high))
    return value


@compiled
def _locate(source: LoadedVoxels, low: float, high: float, row: Floats, bases: Floats, weights: Floats) -> None:
    """Write, for each position, the flat index of the voxel below it and the weights of those above.

    The index is −1 if the position is nearer than `low` and `high` to the lower and upper end of what is in memory.
    It is stored as float64, exact up to 2⁵³, so that this loop compiles to vector instructions.
    """
    z0, y0, x0 = source.start[0] + low, source.start[1] + low, source.start[2] + low
    z1 = source.start[0] + source.shape[0] - high
    y1 = source.start[1] + source.shape[1] - high
    x1 = source.start[2] + source.shape[2] - high
    height, width = np.float64(source.shape[1]), np.float64(source.shape[2])
    shift = -((source.start[0] * height + source.start[1]) * width + source.start[2])
    for i in range(row.shape[1]):
        z, y, x = row[0, i], row[1, i], row[2, i]
        here = (z >= z0) & (z < z1) & (y >= y0) & (y < y1) & (x >= x0) & (x < x1)
        kz, ky, kx = np.floor(z), np.floor(y), np.floor(x)
        weights[0, i], weights[1, i], weights[2, i] = z - kz, y - ky, x - kx
        bases[i] = (kz * height + ky) * width + kx + shift if here else -1.0


@compiled
def _gather_rim(flat: Values, source: LoadedVoxels, row: Floats, i: int, voxels: Values) -> int:
    """Fetch the voxels around position i of `row`, at the rim of the volume or of the region; 1 if one is missing."""
    z, y, x = int(np.floor(row[0, i])), int(np.floor(row[1, i])), int(np.floor(row[2, i]))
    z0, y0, x0 = _place(source, 0, z), _place(source, 1, y), _place(source, 2, x)
    z1, y1, x1 = _place(source, 0, z + 1), _place(source, 1, y + 1), _place(source, 2, x + 1)
    if min(z0, y0, x0, z1, y1, x1) < 0:
        return 1
    height, width = source.shape[1], source.shape[2]
    k = 0
    for zy in ((z0 * height + y0), (z0 * height + y1), (z1 * height + y0), (z1 * height + y1)):
        voxels[k, i], voxels[k + 1, i] = flat[np.uint64(zy * width + x0)], flat[np.uint64(zy * width + x1)]
        k += 2
    return 0


@compiled
def _gather(flat: Values, source: LoadedVoxels, row: Floats, bases: Floats, voxels: Values) -> int:
    """Fetch the eight voxels around each position of a row; returns how many positions lack one in memory.

    What lies outside the volume gets zeros. A loop of its own: so blending compiles to vector instructions.
    """
    down, deep, missing = source.shape[2], source.shape[1] * source.shape[2], 0
    for i in range(bases.shape[0]):
        if bases[i] >= 0:
            at = int(bases[i])
            voxels[0, i], voxels[1, i] = flat[np.uint64(at)], flat[np.uint64(at + 1)]
            voxels[2, i], voxels[3, i] = flat[np.uint64(at + down)], flat[np.uint64(at + down + 1)]
            at += deep
            voxels[4, i], voxels[5, i] = flat[np.uint64(at)], flat[np.uint64(at + 1)]
            voxels[6, i], voxels[7, i] = flat[np.uint64(at + down)], flat[np.uint64(at + down + 1)]
        else:
            for k in range(8):
                voxels[k, i] = 0
            if _inside(source, row[0, i], row[1, i], row[2, i]):
                missing += _gather_rim(flat, source, row, i, voxels)
    return missing


@compiled
def _blend_row(v: Values, weights: Floats, rounded: bool, out: Values) -> None:
    """Blend the voxels (8, n) of a row. Values lie between those of the voxels, so they are in range when rounded.

    Integers of 8 and 16 bits and a fraction fit float32, of which twice as many are computed at once.
    """
    if v.itemsize <= 2:
        for i in range(out.shape[0]):
            value = _trilinear(
                np.float32(v[0, i]),
                np.float32(v[1, i]),
                np.float32(v[2, i]),
                np.float32(v[3, i]),
                np.float32(v[4, i]),
                np.float32(v[5, i]),
                np.float32(v[6, i]),
                np.float32(v[7, i]),
                np.float32(weights[0, i]),
                np.float32(weights[1, i]),
                np.float32(weights[2, i]),
            )
            out[i] = np.rint(value)
        return
    for i in range(out.shape[0]):
        exact = _trilinear(
            np.float64(v[0, i]),
            np.float64(v[1, i]),
            np.float64(v[2, i]),
            np.float64(v[3, i]),
            np.float64(v[4, i]),
            np.float64(v[5, i]),
            np.float64(v[6, i]),
            np.float64(v[7, i]),
            weights[0, i],
            weights[1, i],
            weights[2, i],
        )
        out[i] = np.rint(exact) if rounded else exact


@compiled
def _linear_row(
    flat: Values,
    source: LoadedVoxels,
    row: Floats,
    bases: Floats,
    weights: Floats,
    limits: OutputRange,
    fill: float,
    voxels: Values,
    out: Values,
) -> int:
    """Sample one channel along a row, with `voxels` (8, n) as scratch; returns how many values lacked a voxel."""
    missing = _gather(flat, source, row, bases, voxels)
    _blend_row(voxels, weights, limits.rounded, out)
    for i in range(out.shape[0]):
        if bases[i] < 0 and not _inside(source, row[0, i], row[1, i], row[2, i]):
            out[i] = fill
    return missing


@compiled
def warp_linear(
    first: int,
    last: int,
    out: Values,
    flat: Values,
    source: LoadedVoxels,
    limits: OutputRange,
    fill: float,
    region_start: Ints,
    chain: Chain,
) -> int:
    """Fill rows `first` up to `last` of `out` (c, z, y, x) from `flat` (c, voxels), trilinearly.

    Rows are counted over (z, y). Returns how many values needed a voxel that is not in memory.
    """
    width, missing = out.shape[3], 0
    row, weights, bases = np.empty((3, width)), np.empty((3, width)), np.empty(width)
    voxels = np.empty((8, width), flat.dtype)
    rows = make_rows(chain, region_start[2], width)
    for r in range(first, last):
        z, y = r // out.shape[2], r % out.shape[2]
        map_row(chain, rows, region_start[0] + z, region_start[1] + y, row)
        _locate(source, 0.0, 1.0, row, bases, weights)
        for c in range(out.shape[0]):
            missing += _linear_row(flat[c], source, row, bases, weights, limits, fill, voxels, out[c, z, y])
    return missing


@compiled
def _nearest_row(flat: Values, source: LoadedVoxels, row: Floats, bases: Floats, fill: float, out: Values) -> int:
    """Sample one channel along a row; returns how many values lacked a voxel.

    `row` and `bases` are half a voxel further up, so that the voxel below is the nearest.
    """
    missing = 0
    for i in range(out.shape[0]):
        z, y, x = row[0, i], row[1, i], row[2, i]
        out[i] = fill
        if bases[i] >= 0:
            out[i] = flat[np.uint64(int(bases[i]))]
        elif _inside(source, z - 0.5, y - 0.5, x - 0.5):
            kz, ky, kx = (
                _place(source, 0, int(np.floor(z))),
                _place(source, 1, int(np.floor(y))),
                _place(source, 2, int(np.floor(x))),
            )
            if min(kz, ky, kx) >= 0:
                out[i] = flat[(kz * source.shape[1] + ky) * source.shape[2] + kx]
            else:
                missing += 1
    return missing


@compiled
def warp_nearest(
    first: int,
    last: int,
    out: Values,
    flat: Values,
    source: LoadedVoxels,
    limits: OutputRange,
    fill: float,
    region_start: Ints,
    chain: Chain,
) -> int:
    """Warp as `warp_linear` does, with the value of the nearest voxel; the upper one of two equally near."""
    width, missing = out.shape[3], 0
    row, weights, bases = np.empty((3, width)), np.empty((3, width)), np.empty(width)
    rows = make_rows(chain, region_start[2], width)
    for r in range(first, last):
        z, y = r // out.shape[2], r % out.shape[2]
        map_row(chain, rows, region_start[0] + z, region_start[1] + y, row)
        for c in range(3):
            for i in range(width):
                row[c, i] += 0.5
        _locate(source, 0.0, 0.0, row, bases, weights)
        for c in range(out.shape[0]):
            missing += _nearest_row(flat[c], source, row, bases, fill, out[c, z, y])
    return missing


@compiled
def _catmull_rom(t: float) -> Quad:
    """Return the weights of the voxels −1, 0, 1, 2 at 0 ≤ t < 1 (Keys 1981, a = −½)."""
    return (
        ((-0.5 * t + 1.0) * t - 0.5) * t,
        (1.5 * t - 2.5) * t * t + 1.0,
        ((-1.5 * t + 2.0) * t + 0.5) * t,
        (0.5 * t - 0.5) * t * t,
    )


@compiled
def _weigh(flat: Values, start: int, at: Place4, w: Quad) -> float:
    """Return the weighted sum of the voxels start + at."""
    return float(
        w[0] * flat[np.uint64(start + at[0])]
        + w[1] * flat[np.uint64(start + at[1])]
        + w[2] * flat[np.uint64(start + at[2])]
        + w[3] * flat[np.uint64(start + at[3])]
    )


@compiled
def _cubic(flat: Values, z: Place4, y: Place4, x: Place4, wz: Quad, wy: Quad, wx: Quad) -> float:
    """Return the weighted sum of 4 × 4 × 4 voxels: flat indices are the sums of their parts along each axis."""
    return (
        wz[0] * _cubic_plane(flat, z[0], y, x, wy, wx)
        + wz[1] * _cubic_plane(flat, z[1], y, x, wy, wx)
        + wz[2] * _cubic_plane(flat, z[2], y, x, wy, wx)
        + wz[3] * _cubic_plane(flat, z[3], y, x, wy, wx)
    )


@compiled
def _cubic_plane(flat: Values, start: int, y: Place4, x: Place4, wy: Quad, wx: Quad) -> float:
    return (
        wy[0] * _weigh(flat, start + y[0], x, wx)
        + wy[1] * _weigh(flat, start + y[1], x, wx)
        + wy[2] * _weigh(flat, start + y[2], x, wx)
        + wy[3] * _weigh(flat, start + y[3], x, wx)
    )


@compiled
def _four(source: LoadedVoxels, axis: int, i: int, stride: int) -> Place4:
    """Return the voxels i − 1 to i + 2 along an axis as parts of flat indices; −1 if one is missing."""
    a, b = _place(source, axis, i - 1), _place(source, axis, i)
    c, d = _place(source, axis, i + 1), _place(source, axis, i + 2)
    return (a * stride, b * stride, c * stride, d * stride) if min(a, b, c, d) >= 0 else (-1, -1, -1, -1)


@compiled
def _cubic_row(
    flat: Values,
    source: LoadedVoxels,
    row: Floats,
    bases: Floats,
    weights: Floats,
    limits: OutputRange,
    fill: float,
    out: Values,
) -> int:
    """Sample one channel along a row; returns how many values lacked a voxel."""
    width, area, missing = source.shape[2], source.shape[1] * source.shape[2], 0
    for i in range(out.shape[0]):
        z, y, x = row[0, i], row[1, i], row[2, i]
        out[i] = fill
        if bases[i] >= 0:
            at = int(bases[i])
            kz = (at - area, at, at + area, at + 2 * area)
            ky = (-width, 0, width, 2 * width)
            kx = (-1, 0, 1, 2)
        elif _inside(source, z, y, x):
            kz = _four(source, 0, int(np.floor(z)), area)
            ky = _four(source, 1, int(np.floor(y)), width)
            kx = _four(source, 2, int(np.floor(x)), 1)
            if min(kz[0], ky[0], kx[0]) < 0:
                missing += 1
                continue
        else:
            continue
        wz, wy, wx = _catmull_rom(weights[0, i]), _catmull_rom(weights[1, i]), _catmull_rom(weights[2, i])
        out[i] = _limit(_cubic(flat, kz, ky, kx, wz, wy, wx), limits)
    return missing


@compiled
def warp_cubic(
    first: int,
    last: int,
    out: Values,
    flat: Values,
    source: LoadedVoxels,
    limits: OutputRange,
    fill: float,
    region_start: Ints,
    chain: Chain,
) -> int:
    """Warp as `warp_linear` does, with Catmull-Rom splines over 4 × 4 × 4 voxels: they have no prefilter."""
    width, missing = out.shape[3], 0
    row, weights, bases = np.empty((3, width)), np.empty((3, width)), np.empty(width)
    rows = make_rows(chain, region_start[2], width)
    for r in range(first, last):
        z, y = r // out.shape[2], r % out.shape[2]
        map_row(chain, rows, region_start[0] + z, region_start[1] + y, row)
        _locate(source, 1.0, 2.0, row, bases, weights)
        for c in range(out.shape[0]):
            missing += _cubic_row(flat[c], source, row, bases, weights, limits, fill, out[c, z, y])
    return missing


# --- folding -------------------------------------------------------------------------------------------------------


@compiled
def jacobians(first: int, last: int, values: NDArray[np.float32], spacing: Floats, out: NDArray[np.float32]) -> int:
    """Write, for planes `first` to `last` of nodes, the minimum determinant of 1 + du/dx in the cells at a node."""
    for z in range(first, last):
        for y in range(out.shape[1]):
            for x in range(out.shape[2]):
                minimum = np.inf
                for k in range(8):
                    a = _edge(values, z, y, x, 0, k >> 2, spacing[0])
                    b = _edge(values, z, y, x, 1, (k >> 1) & 1, spacing[1])
                    c = _edge(values, z, y, x, 2, k & 1, spacing[2])
                    minimum = min(minimum, _determinant(a, b, c))
                out[z, y, x] = minimum
    return 0


@compiled
def cell_jacobians(
    first: int, last: int, values: NDArray[np.float32], spacing: Floats, out: NDArray[np.float32]
) -> int:
    """Write, for planes `first` to `last` of cells, the minimum determinant of 1 + du/dx at their corners."""
    last_z, last_y, last_x = values.shape[0] - 1, values.shape[1] - 1, values.shape[2] - 1
    for z in range(first, last):
        for y in range(out.shape[1]):
            for x in range(out.shape[2]):
                minimum = np.inf
                for corner in range(8):
                    i, j, k = corner >> 2, (corner >> 1) & 1, corner & 1
                    p, q, r = min(z + i, last_z), min(y + j, last_y), min(x + k, last_x)
                    a = _edge(values, p, q, r, 0, 1 - i, spacing[0])
                    b = _edge(values, p, q, r, 1, 1 - j, spacing[1])
                    c = _edge(values, p, q, r, 2, 1 - k, spacing[2])
                    minimum = min(minimum, _determinant(a, b, c))
                out[z, y, x] = minimum
    return 0


@compiled
def _edge(
    values: NDArray[np.float32], z: int, y: int, x: int, axis: int, forward: int, spacing: float
) -> tuple[float, float, float]:
    """Return the derivative of the map along an edge at a node, per µm; at the faces along the only edge."""
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
