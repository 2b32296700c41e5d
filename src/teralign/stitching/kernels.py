"""Compiled loops of the pairwise alignment: means, filters along an axis, interpolation, sums of a Gauss-Newton step.

Arrays are (z, y, x) of float32 unless a loop says otherwise.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from teralign.compiling import compiled_fast

Image32 = NDArray[np.float32]
Sums64 = NDArray[np.float64]

BLOCK_SUMS = 12
"""Sums of a block: ff, mm, fm, score (3), products of gradients (zz, yy, xx, zy, zx, yx)."""


@compiled_fast
def pool(image: NDArray[np.generic], factors: tuple[int, int, int], out: Image32) -> None:
    """Write means over groups of `factors` (z, y, x) voxels of an image of any number type; the rest is dropped."""
    fz, fy, fx = factors
    nz, ny, nx = out.shape
    share = np.float32(1.0 / (fz * fy * fx))
    row = np.empty(image.shape[2], np.float32)
    for z in range(nz):
        for y in range(ny):
            row[:] = 0
            for i in range(z * fz, z * fz + fz):
                for j in range(y * fy, y * fy + fy):
                    source = image[i, j]
                    for x in range(len(row)):
                        row[x] += np.float32(source[x])
            target = out[z, y]
            if fx == 1:
                for x in range(nx):
                    target[x] = share * row[x]
            elif fx == 2:
                for x in range(nx):
                    target[x] = share * (row[2 * x] + row[2 * x + 1])
            else:
                for x in range(nx):
                    total = np.float32(0)
                    for k in range(x * fx, x * fx + fx):
                        total += row[k]
                    target[x] = share * total


@compiled_fast
def filter_rows(image: Image32, taps: Image32, out: Image32) -> None:
    """Convolve the middle axis of (outer, n, inner) with symmetric `taps` (centre first), edges mirrored."""
    outer, n, inner = image.shape
    reach = len(taps) - 1
    for o in range(outer):
        for i in range(n):
            target, source = out[o, i], image[o, i]
            for x in range(inner):
                target[x] = taps[0] * source[x]
            for k in range(1, reach + 1):
                low, high = i - k, i + k
                if low < 0:
                    low = min(n - 1, -1 - low)
                if high >= n:
                    high = max(0, 2 * n - 1 - high)
                a, b, t = image[o, low], image[o, high], taps[k]
                for x in range(inner):
                    target[x] += t * (a[x] + b[x])


@compiled_fast
def filter_columns(image: Image32, taps: Image32, out: Image32) -> None:
    """Convolve the last axis of (rows, n) with symmetric `taps` (centre first), edges mirrored."""
    rows, n = image.shape
    reach = len(taps) - 1
    padded = np.empty(n + 2 * reach, np.float32)
    for r in range(rows):
        source, target = image[r], out[r]
        padded[reach : reach + n] = source
        for k in range(reach):
            padded[reach - 1 - k] = source[min(n - 1, k)]
            padded[reach + n + k] = source[max(0, n - 1 - k)]
        for x in range(n):
            target[x] = taps[0] * source[x]
        for k in range(1, reach + 1):  # slices, since an index that may be negative costs five times the rest
            t, left, right = taps[k], padded[reach - k : reach - k + n], padded[reach + k : reach + k + n]
            for x in range(n):
                target[x] += t * (left[x] + right[x])


@compiled_fast
def correlation_at(fixed: Image32, moving: Image32, lag: tuple[int, int, int], least: int) -> float:
    """Return Σ f·m / √(Σ f² · Σ m²) over the voxels that overlap where voxel 0 of `moving` lies at `lag` of `fixed`.

    It is −1 where fewer than `least` voxels overlap along an axis, or all of a shorter axis, and 0 without structure.
    """
    lz, ly, lx = lag
    z0, z1 = max(0, lz), min(fixed.shape[0], moving.shape[0] + lz)
    y0, y1 = max(0, ly), min(fixed.shape[1], moving.shape[1] + ly)
    x0, x1 = max(0, lx), min(fixed.shape[2], moving.shape[2] + lx)
    if (
        z1 - z0 < min(least, fixed.shape[0])
        or y1 - y0 < min(least, fixed.shape[1])
        or x1 - x0 < min(least, fixed.shape[2])
    ):
        return -1.0
    ff = mm = fm = 0.0
    for z in range(z0, z1):
        for y in range(y0, y1):
            a, b = fixed[z, y, x0:x1], moving[z - lz, y - ly, x0 - lx : x1 - lx]
            p = q = r = np.float32(0)
            for x in range(len(a)):
                p += a[x] * a[x]
                q += b[x] * b[x]
                r += a[x] * b[x]
            ff += float(p)
            mm += float(q)
            fm += float(r)
    return fm / np.sqrt(ff * mm) if ff > 0 and mm > 0 else 0.0


@compiled_fast
def interpolate(image: Image32, taps: Image32, out: Image32) -> None:
    """Sample `image` with `taps` (3, 6) along z, y, x; an axis as long as that of `out` is taken as it is.

    Other axes are 5 voxels longer than those of `out`.
    """
    nz, ny, nx = image.shape
    oz, oy, ox = out.shape
    planes = np.empty((nz, oy, ox), np.float32)
    rows = np.empty((ny, ox), np.float32)
    for z in range(nz):
        for y in range(ny):
            source, row = image[z, y], rows[y]
            if ox == nx:
                row[:] = source
            else:
                t0, t1, t2, t3, t4, t5 = taps[2]
                for x in range(ox):
                    row[x] = (
                        t0 * source[x]
                        + t1 * source[x + 1]
                        + t2 * source[x + 2]
                        + t3 * source[x + 3]
                        + t4 * source[x + 4]
                        + t5 * source[x + 5]
                    )
        for y in range(oy):
            target = planes[z, y]
            if oy == ny:
                target[:] = rows[y]
            else:
                t0, t1, t2, t3, t4, t5 = taps[1]
                for x in range(ox):
                    target[x] = (
                        t0 * rows[y, x]
                        + t1 * rows[y + 1, x]
                        + t2 * rows[y + 2, x]
                        + t3 * rows[y + 3, x]
                        + t4 * rows[y + 4, x]
                        + t5 * rows[y + 5, x]
                    )
    for z in range(oz):
        for y in range(oy):
            target = out[z, y]
            if oz == nz:
                target[:] = planes[z, y]
            else:
                t0, t1, t2, t3, t4, t5 = taps[0]
                for x in range(ox):
                    target[x] = (
                        t0 * planes[z, y, x]
                        + t1 * planes[z + 1, y, x]
                        + t2 * planes[z + 2, y, x]
                        + t3 * planes[z + 3, y, x]
                        + t4 * planes[z + 4, y, x]
                        + t5 * planes[z + 5, y, x]
                    )


@compiled_fast
def block_sums(fixed: Image32, moving: Image32, scale: float, block: tuple[int, int, int], out: Sums64) -> None:
    """Add up the `BLOCK_SUMS` of each block of `block` voxels into `out` (bz, by, bx, …), but for the outer voxels.

    The score is ½ (f ∇m − m ∇f), with m scaled by `scale`; gradients are central differences, 0 along an axis of
    fewer than three voxels.
    """
    nz, ny, nx = fixed.shape
    a = np.float32(scale)
    half = np.float32(0.5)
    z0, z1 = (1, nz - 1) if nz > 2 else (0, nz)
    y0, y1 = (1, ny - 1) if ny > 2 else (0, ny)
    deep, high = nz > 2, ny > 2
    for z in range(z0, z1):
        bz = min(z // block[0], out.shape[0] - 1)
        zl, zh = (z - 1, z + 1) if deep else (z, z)
        for y in range(y0, y1):
            by = min(y // block[1], out.shape[1] - 1)
            yl, yh = (y - 1, y + 1) if high else (y, y)
            f, m = fixed[z, y], moving[z, y]
            fzl, fzh, mzl, mzh = fixed[zl, y], fixed[zh, y], moving[zl, y], moving[zh, y]
            fyl, fyh, myl, myh = fixed[z, yl], fixed[z, yh], moving[z, yl], moving[z, yh]
            for bx in range(out.shape[2]):
                x0 = max(1, bx * block[2])
                x1 = nx - 1 if bx == out.shape[2] - 1 else min(nx - 1, (bx + 1) * block[2])
                ff = mm = fm = rz = ry = rx = hzz = hyy = hxx = hzy = hzx = hyx = np.float32(0)
                fi, fa, fb, mi, ma, mb = f[x0:x1], f[x0 - 1 :], f[x0 + 1 :], m[x0:x1], m[x0 - 1 :], m[x0 + 1 :]
                fza, fzb, mza, mzb = fzl[x0:], fzh[x0:], mzl[x0:], mzh[x0:]
                fya, fyb, mya, myb = fyl[x0:], fyh[x0:], myl[x0:], myh[x0:]
                for x in range(x1 - x0):
                    u, v = fi[x], a * mi[x]
                    fgz, mgz = half * (fzb[x] - fza[x]), half * a * (mzb[x] - mza[x])
                    fgy, mgy = half * (fyb[x] - fya[x]), half * a * (myb[x] - mya[x])
                    fgx, mgx = half * (fb[x] - fa[x]), half * a * (mb[x] - ma[x])
                    ff += u * u
                    mm += v * v
                    fm += u * v
                    rz += half * (u * mgz - v * fgz)
                    ry += half * (u * mgy - v * fgy)
                    rx += half * (u * mgx - v * fgx)
                    hzz += fgz * mgz
                    hyy += fgy * mgy
                    hxx += fgx * mgx
                    hzy += half * (fgz * mgy + fgy * mgz)
                    hzx += half * (fgz * mgx + fgx * mgz)
                    hyx += half * (fgy * mgx + fgx * mgy)
                target = out[bz, by, bx]
                target[0] += ff
                target[1] += mm
                target[2] += fm
                target[3] += rz
                target[4] += ry
                target[5] += rx
                target[6] += hzz
                target[7] += hyy
                target[8] += hxx
                target[9] += hzy
                target[10] += hzx
                target[11] += hyx


@compiled_fast
def square_roots(image: NDArray[np.generic], floor: float, out: Image32) -> None:
    """Write the square root of image − floor, 0 below it; `out` may be the image."""
    low = np.float32(floor)
    for z in range(out.shape[0]):
        for y in range(out.shape[1]):
            source, target = image[z, y], out[z, y]
            for x in range(len(target)):
                target[x] = np.sqrt(max(np.float32(0), np.float32(source[x]) - low))


@compiled_fast
def noise_sums(image: NDArray[np.generic], low: float, width: float, out: Sums64) -> None:
    """Add to `out` (levels, 3) the number, the values and the squared noise of each second row, by level.

    The levels are `width` wide from `low`, the first and the last have what is beyond. Value and noise are the mean
    and the second difference of three voxels along x, scaled to the variance of one: those of white noise do not
    depend on each other.
    """
    start, inverse, last = np.float32(low), np.float32(1.0 / width), out.shape[0] - 1
    for z in range(image.shape[0]):
        for y in range(z % 2, image.shape[1], 2):
            row = image[z, y]
            for x in range(1, len(row) - 1):
                a, b, c = np.float32(row[x - 1]), np.float32(row[x]), np.float32(row[x + 1])
                value, bent = (a + b + c) / np.float32(3), a - b - b + c
                level = min(last, max(0, int((value - start) * inverse)))
                out[level, 0] += 1
                out[level, 1] += value
                out[level, 2] += bent * bent / np.float32(6)
