"""Compiled loops of the deformable engine.

`cell_sums` does all work per voxel of a step: one pass over the fixed image, without an image-sized temporary array.
(Mutual information takes three passes and one such array.) The other loops work on cells and control
points, some fifty times fewer.

Conventions: arrays are (z, y, x), with planes of components in front: (3, z, y, x). The entries of a symmetric
3×3 matrix are zz, yy, xx, zy, zx, yx. Every loop takes the range `first … last` of its slowest axis and writes only
its own part of the output, so that threads never change a bit of the result. Total sums go through `partial`, with
one value for each plane.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from teralign.compiling import compiled, compiled_fast

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]

Bands = tuple[tuple[F32, F32], tuple[F32, F32], tuple[F32, F32]]
"""For z, y and x: the rows of D₂ᵀD₂ (length, 5) and D₁ᵀD₁ (length, 3), of second and first differences."""

SUMS = 21
"""Sums per cell: count, f, m, ff, mm, fm; f·g (3), m·g (3), g (3), g·gᵀ (6). g is the fixed gradient per voxel."""

WINDOW_SUMS = 6
"""The first of the `SUMS`, which windows add up."""

MARGIN = 2
"""Control points beyond the first and the last cell of each axis: the reach of a cubic spline."""

PAD = 2
"""Zeros around a lattice vector: second differences then need no special case at its faces."""

UNKNOWN = -2.0
"""The correlation of a cell without voxels to compare."""


@compiled
def pool(
    first: int, last: int, image: NDArray[Any], factors: I64, low: float, high: float, scale: float, out: F32
) -> None:
    """Write means over groups of `factors` voxels of (clip(image, low, high) − low) · scale."""
    fz, fy, fx = factors
    ny, nx = out.shape[1:]
    share = np.float32(scale / (fz * fy * fx))
    a, b = np.float32(low), np.float32(high)
    for z in range(first, last):
        for y in range(ny):
            row = out[z, y]
            row[:] = 0
            for i in range(z * fz, (z + 1) * fz):
                for j in range(y * fy, (y + 1) * fy):
                    source = image[i, j]
                    for x in range(nx):
                        for k in range(fx):
                            row[x] += min(max(np.float32(source[x * fx + k]), a), b) - a
            for x in range(nx):
                row[x] *= share


@compiled
def spline_weights(t: float, out: F32) -> None:
    """Write the weights of the four control points around a position t ∈ [0, 1) beyond the second."""
    s = 1.0 - t
    out[0] = s * s * s / 6.0
    out[1] = (4.0 - 6.0 * t * t + 3.0 * t * t * t) / 6.0
    out[2] = (4.0 - 6.0 * s * s + 3.0 * s * s * s) / 6.0
    out[3] = t * t * t / 6.0


@compiled
def axis_weights(width: int, nearest: I64, weights: F32) -> None:
    """Write, for each voxel of an axis with cells of `width` voxels, its first control point and the four weights."""
    for x in range(nearest.size):
        position = (x + 0.5) / width - 0.5
        base = int(np.floor(position))
        nearest[x] = base - 1 + MARGIN
        spline_weights(position - base, weights[x])


@compiled_fast
def _row_drift(coefficients: F32, kz: int, wz: F32, ky: int, wy: F32, to_voxels: F64, plain: F32, drift: F32) -> None:
    """Write the control values (3, x) of one row of voxels, in voxels of the moving image."""
    plain[:] = 0
    n = plain.shape[1]
    for d in range(3):
        target = plain[d]
        for i in range(4):
            for j in range(4):
                w, source = wz[i] * wy[j], coefficients[d, kz + i, ky + j]
                for k in range(n):
                    target[k] += w * source[k]
    for d in range(3):
        q0, q1, q2 = np.float32(to_voxels[d, 0]), np.float32(to_voxels[d, 1]), np.float32(to_voxels[d, 2])
        for k in range(n):
            drift[d, k] = q0 * plain[0, k] + q1 * plain[1, k] + q2 * plain[2, k]


@compiled_fast
def _row_places(start: F64, step: F64, drift: F32, nearest: I64, weights: F32, places: F32) -> None:
    """Write the positions (3, x) of one row of fixed voxels in the moving image, in voxels."""
    for d in range(3):
        a, b = np.float32(start[d]), np.float32(step[d])
        controls, target = drift[d], places[d]
        for x in range(nearest.size):
            k = nearest[x]
            target[x] = (
                a
                + b * np.float32(x)
                + weights[x, 0] * controls[k]
                + weights[x, 1] * controls[k + 1]
                + weights[x, 2] * controls[k + 2]
                + weights[x, 3] * controls[k + 3]
            )


@compiled_fast
def _sample_row(moving: F32, valid: U8, places: F32, image: F32, weight: F32) -> None:
    """Write the moving image at `places`, trilinear; where it is unknown, `image` and `weight` become 0."""
    nz, ny, nx = moving.shape
    flat, known = moving.ravel(), valid.ravel()
    masked = valid.size > 0
    dz, dy, dx = ny * nx if nz > 1 else 0, nx if ny > 1 else 0, 1 if nx > 1 else 0
    top_z, top_y, top_x = np.float32(nz - 1), np.float32(ny - 1), np.float32(nx - 1)
    last_z, last_y, last_x = max(nz - 2, 0), max(ny - 2, 0), max(nx - 2, 0)
    for x in range(image.size):
        pz, py, px = places[0, x], places[1, x], places[2, x]
        inside = pz >= 0 and pz <= top_z and py >= 0 and py <= top_y and px >= 0 and px <= top_x
        if not inside or weight[x] == 0:
            image[x] = 0
            weight[x] = 0
            continue
        iz, iy, ix = min(int(pz), last_z), min(int(py), last_y), min(int(px), last_x)
        tz, ty, tx = pz - np.float32(iz), py - np.float32(iy), px - np.float32(ix)
        o = (iz * ny + iy) * nx + ix
        p = o + dz
        if masked and not (
            known[o] and known[o + dx] and known[o + dy] and known[o + dy + dx]
            and known[p] and known[p + dx] and known[p + dy] and known[p + dy + dx]
        ):  # fmt: skip
            image[x] = 0
            weight[x] = 0
            continue
        a = flat[o] + tx * (flat[o + dx] - flat[o])
        b = flat[o + dy] + tx * (flat[o + dy + dx] - flat[o + dy])
        c = flat[p] + tx * (flat[p + dx] - flat[p])
        d = flat[p + dy] + tx * (flat[p + dy + dx] - flat[p + dy])
        a += ty * (b - a)
        c += ty * (d - c)
        image[x] = a + tz * (c - a)


@compiled
def _axes(nz: int, ny: int, nx: int, cell: I64) -> tuple[I64, F32, I64, F32, I64, F32]:
    """Return `axis_weights` of all three axes."""
    near_z, near_y, near_x = np.empty(nz, np.int64), np.empty(ny, np.int64), np.empty(nx, np.int64)
    wz, wy, wx = np.empty((nz, 4), np.float32), np.empty((ny, 4), np.float32), np.empty((nx, 4), np.float32)
    axis_weights(cell[0], near_z, wz)
    axis_weights(cell[1], near_y, wy)
    axis_weights(cell[2], near_x, wx)
    return near_z, wz, near_y, wy, near_x, wx


@compiled
def _buffers(coefficients: F32, nx: int) -> tuple[F64, F32, F32, F32]:
    """Return buffers for one row of voxels: its start, its control values twice, its places."""
    points = coefficients.shape[3]
    plain, drift = np.empty((3, points), np.float32), np.empty((3, points), np.float32)
    return np.empty(3), plain, drift, np.empty((3, nx), np.float32)


@compiled
def _weigh_row(valid: U8, z: int, y: int, weight: F32) -> None:
    """Write the weights of one row of fixed voxels: the mask, or 1."""
    weight[:] = 1
    if valid.size > 0:
        for x in range(weight.size):
            weight[x] = valid[z, y, x]


@compiled_fast
def _look_up_row(
    z: int,
    y: int,
    moving: F32,
    moving_valid: U8,
    matrix: F64,
    to_voxels: F64,
    coefficients: F32,
    axes: tuple[I64, F32, I64, F32, I64, F32],
    buffers: tuple[F64, F32, F32, F32],
    image: F32,
    weight: F32,
) -> None:
    """Write the moving image at one row of fixed voxels; arguments as for `cell_sums`."""
    near_z, wz, near_y, wy, near_x, wx = axes
    start, plain, drift, places = buffers
    for d in range(3):
        start[d] = matrix[d, 0] * z + matrix[d, 1] * y + matrix[d, 3]
    _row_drift(coefficients, near_z[z], wz[z], near_y[y], wy[y], to_voxels, plain, drift)
    _row_places(start, matrix[:, 2], drift, near_x, wx, places)
    _sample_row(moving, moving_valid, places, image, weight)


@compiled_fast
def _add_row(sums: F32, fixed: F32, z: int, y: int, m: F32, weight: F32) -> None:
    """Add the products of one row of voxels to the sums (SUMS, x)."""
    nz, ny, n = fixed.shape
    f = fixed[z, y]
    above, below = fixed[min(z + 1, nz - 1), y], fixed[max(z - 1, 0), y]
    behind, before = fixed[z, min(y + 1, ny - 1)], fixed[z, max(y - 1, 0)]
    half = np.float32(0.5)
    for x in range(n):
        w = weight[x]
        a, b = w * f[x], w * m[x]
        gz, gy = w * half * (above[x] - below[x]), w * half * (behind[x] - before[x])
        gx = w * half * (f[min(x + 1, n - 1)] - f[max(x - 1, 0)])
        sums[0, x] += w
        sums[1, x] += a
        sums[2, x] += b
        sums[3, x] += a * a
        sums[4, x] += b * b
        sums[5, x] += a * b
        sums[6, x] += a * gz
        sums[7, x] += a * gy
        sums[8, x] += a * gx
        sums[9, x] += b * gz
        sums[10, x] += b * gy
        sums[11, x] += b * gx
        sums[12, x] += gz
        sums[13, x] += gy
        sums[14, x] += gx
        sums[15, x] += gz * gz
        sums[16, x] += gy * gy
        sums[17, x] += gx * gx
        sums[18, x] += gz * gy
        sums[19, x] += gz * gx
        sums[20, x] += gy * gx


@compiled_fast
def cell_sums(
    first: int,
    last: int,
    fixed: F32,
    fixed_valid: U8,
    moving: F32,
    moving_valid: U8,
    matrix: F64,
    to_voxels: F64,
    coefficients: F32,
    cell: I64,
    out: F32,
) -> None:
    """Sum the products of both images over the cells of `cell` fixed voxels, into `out` (SUMS, cells).

    `matrix` (3, 4) takes a fixed voxel index to a moving one, `to_voxels` (3, 3) a displacement in µm to
    moving voxels; `coefficients` (3, cells + 2·MARGIN) are the spline's control values in µm. The masks hold 1 where
    a voxel counts, or are empty. Voxels with a place outside the moving image do not count. The range is of rows of
    cells.
    """
    nz, ny, nx = fixed.shape
    cells_y, cells_x = out.shape[2:]
    axes, buffers = _axes(nz, ny, nx, cell), _buffers(coefficients, nx)
    sums, image, weight = np.empty((SUMS, nx), np.float32), np.empty(nx, np.float32), np.empty(nx, np.float32)
    for row in range(first, last):
        cz, cy = row // cells_y, row % cells_y
        sums[:] = 0
        for z in range(cz * cell[0], min((cz + 1) * cell[0], nz)):
            for y in range(cy * cell[1], min((cy + 1) * cell[1], ny)):
                _weigh_row(fixed_valid, z, y, weight)
                _look_up_row(
                    z, y, moving, moving_valid, matrix, to_voxels, coefficients, axes, buffers, image, weight
                )
                _add_row(sums, fixed, z, y, image, weight)
        for s in range(SUMS):
            for cx in range(cells_x):
                total = np.float32(0)
                for x in range(cx * cell[2], min((cx + 1) * cell[2], nx)):
                    total += sums[s, x]
                out[s, cz, cy, cx] = total


@compiled
def look_up(
    first: int,
    last: int,
    fixed_valid: U8,
    moving: F32,
    moving_valid: U8,
    matrix: F64,
    to_voxels: F64,
    coefficients: F32,
    cell: I64,
    out: F32,
) -> None:
    """Write the moving image at the fixed voxels, UNKNOWN where masked or outside; arguments as for `cell_sums`."""
    nz, ny, nx = out.shape
    axes, buffers = _axes(nz, ny, nx, cell), _buffers(coefficients, nx)
    weight = np.empty(nx, np.float32)
    for z in range(first, last):
        for y in range(ny):
            _weigh_row(fixed_valid, z, y, weight)
            image = out[z, y]
            _look_up_row(z, y, moving, moving_valid, matrix, to_voxels, coefficients, axes, buffers, image, weight)
            for x in range(nx):
                if weight[x] == 0:
                    image[x] = UNKNOWN


@compiled
def joint_histogram(first: int, last: int, fixed: F32, seen: F32, widths: F64, out: F32) -> None:
    """Write counts of pairs of intensities, (planes, bins, bins): each voxel is shared among the four bins around it.

    `widths` (2) are those of a bin of either image; bin 0 begins at 0. Voxels UNKNOWN in `seen` do not count.
    """
    bins = out.shape[1]
    for z in range(first, last):
        out[z] = 0
        for y in range(fixed.shape[1]):
            for x in range(fixed.shape[2]):
                if seen[z, y, x] == UNKNOWN:
                    continue
                i, s = _bin(fixed[z, y, x] / widths[0], bins)
                j, t = _bin(seen[z, y, x] / widths[1], bins)
                out[z, i, j] += (1 - s) * (1 - t)
                out[z, i, j + 1] += (1 - s) * t
                out[z, i + 1, j] += s * (1 - t)
                out[z, i + 1, j + 1] += s * t


@compiled
def _bin(position: float, bins: int) -> tuple[int, float]:
    """Return the bin below a position, and the distance from it."""
    at = min(max(position, 0.0), bins - 1.0)
    i = min(int(at), bins - 2)
    return i, at - i


@compiled
def _difference(before: float, here: float, after: float) -> float:
    """Return the slope per voxel in the middle of three values, some of which may be UNKNOWN."""
    if before == UNKNOWN:
        return 0.0 if after == UNKNOWN else after - here
    return here - before if after == UNKNOWN else (after - before) / 2


@compiled
def information_sums(
    first: int,
    last: int,
    fixed: F32,
    seen: F32,
    widths: F64,
    tables: F64,
    curvature: F64,
    spacing: F64,
    cell: I64,
    out: F32,
) -> None:
    """Write sums over cells, (11, cells): count, information, its force (3) and its stiffness (6), per µm.

    `tables` (2, bins, bins) hold the information of a pair of intensities and its derivative by the moving one,
    `curvature` (bins) the mean square of the latter at each fixed intensity. The gradient is that of `seen`, the
    moving image at the fixed voxels. The range is of rows of cells.
    """
    nz, ny, nx = fixed.shape
    cells_y, cells_x = out.shape[2:]
    bins = curvature.size
    g = np.empty(3)
    total = np.empty((11, cells_x))
    for row in range(first, last):
        cz, cy = row // cells_y, row % cells_y
        total[:] = 0
        for z in range(cz * cell[0], min((cz + 1) * cell[0], nz)):
            for y in range(cy * cell[1], min((cy + 1) * cell[1], ny)):
                for x in range(nx):
                    m, cx = seen[z, y, x], x // cell[2]
                    if m == UNKNOWN:
                        continue
                    i, s = _bin(fixed[z, y, x] / widths[0], bins)
                    j, t = _bin(m / widths[1], bins)
                    a, b, c, d = (1 - s) * (1 - t), (1 - s) * t, s * (1 - t), s * t
                    value, slope = tables[0], tables[1]
                    force = a * slope[i, j] + b * slope[i, j + 1] + c * slope[i + 1, j] + d * slope[i + 1, j + 1]
                    stiffness = (1 - s) * curvature[i] + s * curvature[i + 1]
                    above, below = seen[max(z - 1, 0), y, x], seen[min(z + 1, nz - 1), y, x]
                    behind, before = seen[z, max(y - 1, 0), x], seen[z, min(y + 1, ny - 1), x]
                    g[0] = _difference(above, m, below) / spacing[0]
                    g[1] = _difference(behind, m, before) / spacing[1]
                    g[2] = _difference(seen[z, y, max(x - 1, 0)], m, seen[z, y, min(x + 1, nx - 1)]) / spacing[2]
                    total[0, cx] += 1
                    total[1, cx] += (
                        a * value[i, j] + b * value[i, j + 1] + c * value[i + 1, j] + d * value[i + 1, j + 1]
                    )
                    for k in range(3):
                        total[2 + k, cx] += force * g[k]
                        total[5 + k, cx] += stiffness * g[k] * g[k]
                    total[8, cx] += stiffness * g[0] * g[1]
                    total[9, cx] += stiffness * g[0] * g[2]
                    total[10, cx] += stiffness * g[1] * g[2]
        out[:, cz, cy] = total


@compiled
def _running_sum(line: F64, radius: int, out: F64) -> None:
    """Write sums over 2·radius + 1 neighbours, cut at the ends: two additions each, whatever the radius."""
    n = line.size
    total = 0.0
    for i in range(min(radius, n)):
        total += line[i]
    for i in range(n):
        if i + radius < n:
            total += line[i + radius]
        if i - radius - 1 >= 0:
            total -= line[i - radius - 1]
        out[i] = total


@compiled
def window_sums(first: int, last: int, values: F32, radius: I64, out: F32) -> None:
    """Write sums over windows of 2·radius + 1 cells around each: (planes, z, y, x) to the same shape; by planes."""
    _, nz, ny, nx = values.shape
    longest = max(nz, ny, nx)
    line, summed = np.empty(longest), np.empty(longest)
    for plane in range(first, last):
        volume = values[plane].astype(np.float64)
        for y in range(ny):
            for x in range(nx):
                line[:nz] = volume[:, y, x]
                _running_sum(line[:nz], radius[0], summed)
                volume[:, y, x] = summed[:nz]
        for z in range(nz):
            for x in range(nx):
                line[:ny] = volume[z, :, x]
                _running_sum(line[:ny], radius[1], summed)
                volume[z, :, x] = summed[:ny]
            for y in range(ny):
                _running_sum(volume[z, y], radius[2], summed)
                out[plane, z, y] = summed[:nx]


@compiled
def correlate(
    first: int, last: int, windows: F32, floors: F64, min_voxels: float, local: F32, correlation: F32
) -> None:
    """Write the statistics of each cell's window into `local` (5, z, y, x), and its correlation.

    This is the correlation that is optimised; `metrics` has the one by which steps are judged.

    The statistics are the means f̄ and m̄, the inverse deviations 1/σ_f and 1/σ_m, and the slope of m on f.

    `floors` are added to both variances, so that noise alone counts little; a window with fewer than `min_voxels`
    voxels is UNKNOWN.
    """
    _, _, ny, nx = windows.shape
    for z in range(first, last):
        for y in range(ny):
            for x in range(nx):
                n = np.float64(windows[0, z, y, x])
                local[:, z, y, x] = 0
                correlation[z, y, x] = UNKNOWN
                if n < min_voxels:
                    continue
                f, m = windows[1, z, y, x] / n, windows[2, z, y, x] / n
                v, covariance = windows[3, z, y, x] / n - f * f, windows[5, z, y, x] / n - f * m
                vf = max(v, 0.0) + floors[0]
                vm = max(windows[4, z, y, x] / n - m * m, 0.0) + floors[1]
                local[0, z, y, x] = f
                local[1, z, y, x] = m
                local[2, z, y, x] = 1 / np.sqrt(vf)
                local[3, z, y, x] = 1 / np.sqrt(vm)
                local[4, z, y, x] = max(covariance, 0.0) / max(v, 0.1 * floors[0])
                correlation[z, y, x] = covariance / np.sqrt(vf * vm)


@compiled
def gauss_newton(
    first: int,
    last: int,
    sums: F32,
    local: F32,
    correlation: F32,
    spacing: F64,
    emphasis: float,
    force: F32,
    stiffness: F32,
) -> None:
    """Write the right side (3, cells) and the matrix (6, cells) of the data term, per µm.

    The residual is (β(f − f̄) − (m − m̄))/σ_m with the slope β, its derivative g/σ_f; a cell whose correlation is c
    weighs (1.02 − c²)^−emphasis.
    """
    _, _, ny, nx = sums.shape
    hz, hy, hx = 1 / spacing[0], 1 / spacing[1], 1 / spacing[2]
    for z in range(first, last):
        for y in range(ny):
            for x in range(nx):
                force[:, z, y, x] = 0
                stiffness[:, z, y, x] = 0
                if correlation[z, y, x] == UNKNOWN or sums[0, z, y, x] == 0:
                    continue
                f, m = local[0, z, y, x], local[1, z, y, x]
                sf, sm = local[2, z, y, x], local[3, z, y, x]
                c = min(max(correlation[z, y, x], 0.0), 1.0)
                slope, w = local[4, z, y, x], sf / (1.02 - c * c) ** emphasis
                for d in range(3):
                    g = sums[12 + d, z, y, x]
                    fg, mg = sums[6 + d, z, y, x] - f * g, sums[9 + d, z, y, x] - m * g
                    force[d, z, y, x] = w * sm * (slope * fg - mg) / spacing[d]
                w *= sf
                stiffness[0, z, y, x] = w * sums[15, z, y, x] * hz * hz
                stiffness[1, z, y, x] = w * sums[16, z, y, x] * hy * hy
                stiffness[2, z, y, x] = w * sums[17, z, y, x] * hx * hx
                stiffness[3, z, y, x] = w * sums[18, z, y, x] * hz * hy
                stiffness[4, z, y, x] = w * sums[19, z, y, x] * hz * hx
                stiffness[5, z, y, x] = w * sums[20, z, y, x] * hy * hx


@compiled_fast
def _add_scaled(weight: np.float32, source: F32, target: F32) -> None:
    for x in range(target.size):
        target[x] += weight * source[x]


@compiled_fast
def multiply(
    first: int,
    last: int,
    c: F32,
    scale: F64,
    bands: Bands,
    stiffness: F32,
    out: F32,
    partial: F64,
) -> None:
    """Write the matrix of a step times `c`, both (3, lattice) within PAD zeros; `partial` gets c · out by planes.

    The matrix is the data term's `stiffness` (6, cells) and the gradient of half the bending energy
    Σ scale_d·scale_e (D_d D_e c)², from the `bands` of the squared differences.
    """
    (second_z, first_z), (second_y, first_y), (second_x, first_x) = bands
    ny, nx = second_y.shape[0], second_x.shape[0]
    cells_z, cells_y, cells_x = stiffness.shape[1:]
    zz, yy, xx = np.float32(scale[0] ** 2), np.float32(scale[1] ** 2), np.float32(scale[2] ** 2)
    zy, zx = np.float32(2 * scale[0] * scale[1]), np.float32(2 * scale[0] * scale[2])
    yx = np.float32(2 * scale[1] * scale[2])
    plain, mixed = np.empty(nx + 2 * PAD, np.float32), np.empty(nx + 2 * PAD, np.float32)
    for z in range(first, last):
        for y in range(ny):
            for d in range(3):
                plain[:] = 0
                mixed[:] = 0
                for i in range(5):
                    _add_scaled(zz * second_z[z, i], c[d, z + i, y + PAD], plain)
                    _add_scaled(yy * second_y[y, i], c[d, z + PAD, y + i], plain)
                for i in range(3):
                    for j in range(3):
                        _add_scaled(zy * first_z[z, i] * first_y[y, j], c[d, z + 1 + i, y + 1 + j], plain)
                    _add_scaled(zx * first_z[z, i], c[d, z + 1 + i, y + PAD], mixed)
                    _add_scaled(yx * first_y[y, i], c[d, z + PAD, y + 1 + i], mixed)
                row, target = c[d, z + PAD, y + PAD], out[d, z + PAD, y + PAD]
                for x in range(nx):
                    total = plain[x + 2]
                    for i in range(3):
                        total += first_x[x, i] * mixed[x + 1 + i]
                    for i in range(5):
                        total += xx * second_x[x, i] * row[x + i]
                    target[x + PAD] = total
            i, j, o = z - MARGIN, y - MARGIN, PAD + MARGIN
            if 0 <= i < cells_z and 0 <= j < cells_y:
                a, b, e = c[0, z + PAD, y + PAD], c[1, z + PAD, y + PAD], c[2, z + PAD, y + PAD]
                for k in range(cells_x):
                    u, v, w = a[k + o], b[k + o], e[k + o]
                    zy_, zx_, yx_ = stiffness[3, i, j, k], stiffness[4, i, j, k], stiffness[5, i, j, k]
                    out[0, z + PAD, y + PAD, k + o] += stiffness[0, i, j, k] * u + zy_ * v + zx_ * w
                    out[1, z + PAD, y + PAD, k + o] += zy_ * u + stiffness[1, i, j, k] * v + yx_ * w
                    out[2, z + PAD, y + PAD, k + o] += zx_ * u + yx_ * v + stiffness[2, i, j, k] * w
        total64 = 0.0
        for d in range(3):
            for y in range(PAD, ny + PAD):
                for x in range(PAD, nx + PAD):
                    total64 += np.float64(c[d, z + PAD, y, x]) * np.float64(out[d, z + PAD, y, x])
        partial[z] = total64


@compiled
def invert_blocks(first: int, last: int, stiffness: F32, diagonal: F32, out: F32) -> None:
    """Write the inverses of stiffness + diagonal·1 at each control point, (6, lattice)."""
    _, ny, nx = diagonal.shape
    _, cells_z, cells_y, cells_x = stiffness.shape
    for z in range(first, last):
        for y in range(ny):
            for x in range(nx):
                zz = yy = xx = np.float64(diagonal[z, y, x])
                zy = zx = yx = 0.0
                i, j, k = z - MARGIN, y - MARGIN, x - MARGIN
                if 0 <= i < cells_z and 0 <= j < cells_y and 0 <= k < cells_x:
                    zz += stiffness[0, i, j, k]
                    yy += stiffness[1, i, j, k]
                    xx += stiffness[2, i, j, k]
                    zy, zx, yx = stiffness[3, i, j, k], stiffness[4, i, j, k], stiffness[5, i, j, k]
                a, b, c = yy * xx - yx * yx, zx * yx - zy * xx, zy * yx - zx * yy
                det = zz * a + zy * b + zx * c
                out[0, z, y, x] = a / det
                out[1, z, y, x] = (zz * xx - zx * zx) / det
                out[2, z, y, x] = (zz * yy - zy * zy) / det
                out[3, z, y, x] = b / det
                out[4, z, y, x] = c / det
                out[5, z, y, x] = (zy * zx - zz * yx) / det


@compiled_fast
def descend(
    first: int, last: int, alpha: float, p: F32, q: F32, inverse: F32, delta: F32, r: F32, s: F32, partial: F64
) -> None:
    """Make a step of conjugate gradients: delta += alpha·p, r −= alpha·q, s = inverse·r; `partial` gets r · s."""
    _, _, ny, nx = inverse.shape
    a = np.float32(alpha)
    for z in range(first, last):
        total = 0.0
        for y in range(ny):
            for x in range(nx):
                i, j, k = z + PAD, y + PAD, x + PAD
                for d in range(3):
                    delta[d, i, j, k] += a * p[d, i, j, k]
                    r[d, i, j, k] -= a * q[d, i, j, k]
                u, v, w = r[0, i, j, k], r[1, i, j, k], r[2, i, j, k]
                zy, zx, yx = inverse[3, z, y, x], inverse[4, z, y, x], inverse[5, z, y, x]
                s[0, i, j, k] = inverse[0, z, y, x] * u + zy * v + zx * w
                s[1, i, j, k] = zy * u + inverse[1, z, y, x] * v + yx * w
                s[2, i, j, k] = zx * u + yx * v + inverse[2, z, y, x] * w
                total += u * s[0, i, j, k] + v * s[1, i, j, k] + w * s[2, i, j, k]
        partial[z] = total


@compiled_fast
def turn(first: int, last: int, s: F32, beta: float, p: F32) -> None:
    """Set p to s + beta·p; the range is of the planes within PAD."""
    b = np.float32(beta)
    for d in range(3):
        for z in range(first + PAD, last + PAD):
            for y in range(p.shape[2]):
                for x in range(p.shape[3]):
                    p[d, z, y, x] = s[d, z, y, x] + b * p[d, z, y, x]


@compiled_fast
def sample_spline(first: int, last: int, c: F32, at_z: F64, at_y: F64, at_x: F64, out: F32) -> None:
    """Write the spline of control values `c` (3, lattice) at the positions at_z × at_y × at_x: (z, y, x, 3)."""
    wz, wy = np.empty(4, np.float32), np.empty(4, np.float32)
    wx = np.empty((at_x.size, 4), np.float32)
    for x in range(at_x.size):
        spline_weights(at_x[x] - np.floor(at_x[x]), wx[x])
    row = np.empty((3, c.shape[3]), np.float32)
    for z in range(first, last):
        bz = int(np.floor(at_z[z]))
        spline_weights(at_z[z] - bz, wz)
        for y in range(at_y.size):
            by = int(np.floor(at_y[y]))
            spline_weights(at_y[y] - by, wy)
            row[:] = 0
            for d in range(3):
                for i in range(4):
                    for j in range(4):
                        _add_scaled(wz[i] * wy[j], c[d, bz - 1 + i, by - 1 + j], row[d])
            for x in range(at_x.size):
                bx = int(np.floor(at_x[x])) - 1
                for d in range(3):
                    total = np.float32(0)
                    for k in range(4):
                        total += wx[x, k] * row[d, bx + k]
                    out[z, y, x, d] = total
