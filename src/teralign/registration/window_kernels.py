"""Compiled loop of the linear steps: correlation in windows, and its derivatives by the parameters of a map.

For each window the moving image and its derivatives are looked up, and all that Gauss–Newton needs is summed in one
pass: with J the derivatives of the moving samples by the parameters, m̂ and f̂ the normalised samples,

    P J  with P = 1 − 1·1ᵀ/n − m̂·m̂ᵀ,   (P J)ᵀ(P J) = JᵀJ − (Jᵀ1)(Jᵀ1)ᵀ/n − (Jᵀm̂)(Jᵀm̂)ᵀ,
    (P J)ᵀ(f̂ − m̂) = Jᵀf̂ − r Jᵀm̂,   r = f̂ᵀm̂.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from teralign.compiling import compiled
from teralign.grids import Bools
from teralign.registration.deform_kernels import F32, F64

_FLAT = 1e-9  # length of samples that do not vary


class StepMap(NamedTuple):
    """The map of points at which a step begins, and the arms of the step's parameters."""

    matrix: F64  # (4, 4): fixed points to mapped points, µm
    to_index: F64  # (4, 4): mapped points to voxels of the moving image
    initial: F64  # (3, 3): turns derivatives by moving points into those by mapped points
    pivot: F64  # (3,): where arms begin, µm; they reach to mapped points if rigid, to fixed points if affine
    reach: float  # µm: the unit of arms


@compiled
def linearise(
    points: F64,
    values: F32,
    inside: Bools,
    moving: F32,
    slopes: F32,
    mask: Bools,
    start: StepMap,
    min_weight: float,
    normal: F64,
    slope: F64,
) -> tuple[float, int]:
    """Add up the normal equations of a step; return the sum of the windows' correlations and their number.

    points (windows, samples, 3) µm with the fixed `values` there; `moving` (z, y, x), its derivatives `slopes`
    (3, z, y, x) per µm, and a mask of its shape, or of one voxel for none. A window weighs its correlation, or 0,
    plus `min_weight`; it counts if half of it is inside. `normal` (p, p) and `slope` (p,) come in as 0: p is 6 for a
    rigid step, 12 for an affine one.
    """
    matrix, to_index, initial, pivot, reach = start
    rigid = slope.size == 6
    size = slope.size
    windows, samples = values.shape
    f, m, gradient = np.empty(samples), np.empty(samples), np.empty((samples, 3))
    arm = np.empty((samples, 3))
    j, one, by_m, by_f, square = (
        np.empty(size),
        np.empty(size),
        np.empty(size),
        np.empty(size),
        np.empty((size, size)),
    )
    seen, at = np.empty(3), np.empty(3)
    total, used = 0.0, 0
    for w in range(windows):
        count, mean_f, mean_m = 0, 0.0, 0.0
        for s in range(samples):
            if not inside[w, s]:
                continue
            for a in range(3):
                seen[a] = matrix[a, 3]
                for b in range(3):
                    seen[a] += matrix[a, b] * points[w, s, b]
            for a in range(3):
                at[a] = to_index[a, 3]
                for b in range(3):
                    at[a] += to_index[a, b] * seen[b]
            if not _look_up(at, moving, slopes, mask, gradient[count], m, count):
                continue
            f[count] = values[w, s]
            mean_f += f[count]
            mean_m += m[count]
            for a in range(3):
                arm[count, a] = ((seen[a] if rigid else points[w, s, a]) - pivot[a]) / reach
            count += 1
        if count <= 0.5 * samples:
            continue
        used += 1
        length, r = _normalise(f, m, count, mean_f / count, mean_m / count)
        if length <= _FLAT:
            continue
        total += r
        one[:] = 0
        by_m[:] = 0
        by_f[:] = 0
        square[:] = 0
        for s in range(count):
            _derivatives(gradient[s], initial, arm[s], j)
            for a in range(size):
                one[a] += j[a]
                by_m[a] += j[a] * m[s]
                by_f[a] += j[a] * f[s]
                for b in range(a + 1):
                    square[a, b] += j[a] * j[b]
        weight = max(r, 0.0) + min_weight
        for a in range(size):
            slope[a] += weight / length * (by_f[a] - r * by_m[a])
            for b in range(a + 1):
                normal[a, b] += weight / length**2 * (square[a, b] - one[a] * one[b] / count - by_m[a] * by_m[b])
    for a in range(size):
        for b in range(a):
            normal[b, a] = normal[a, b]
    return total, used


@compiled
def _look_up(at: F64, image: F32, slopes: F32, mask: Bools, gradient: F64, out: F64, place: int) -> bool:
    """Interpolate the image and its derivatives at a fractional voxel; return False if it is outside or masked."""
    shape = image.shape
    for a in range(3):
        if not -0.5 <= at[a] <= shape[a] - 0.5:
            return False
    z, y, x = _clamped(at[0], shape[0]), _clamped(at[1], shape[1]), _clamped(at[2], shape[2])
    if mask.shape == image.shape and not mask[int(np.rint(z)), int(np.rint(y)), int(np.rint(x))]:
        return False
    value = 0.0
    gradient[:] = 0
    i, j, k = int(z), int(y), int(x)
    for corner in range(8):
        p, q, t = corner >> 2, (corner >> 1) & 1, corner & 1
        share = (z - i if p else 1 - z + i) * (y - j if q else 1 - y + j) * (x - k if t else 1 - x + k)
        if share == 0.0:
            continue
        value += share * image[i + p, j + q, k + t]
        for a in range(3):
            gradient[a] += share * slopes[a, i + p, j + q, k + t]
    out[place] = value
    return True


@compiled
def _clamped(position: float, size: int) -> float:
    return min(max(position, 0.0), size - 1.0)


@compiled
def _normalise(f: F64, m: F64, count: int, mean_f: float, mean_m: float) -> tuple[float, float]:
    """Make the first `count` of both zero-mean and of unit length, flat ones 0; return m's length and f·m."""
    length_f, length_m = 0.0, 0.0
    for s in range(count):
        f[s] -= mean_f
        m[s] -= mean_m
        length_f += f[s] * f[s]
        length_m += m[s] * m[s]
    length_f, length_m = np.sqrt(length_f), np.sqrt(length_m)
    r = 0.0
    for s in range(count):
        f[s] = f[s] / length_f if length_f > _FLAT else 0.0
        m[s] = m[s] / length_m if length_m > _FLAT else 0.0
        r += f[s] * m[s]
    return length_m, r


@compiled
def _derivatives(gradient: F64, initial: F64, arm: F64, out: F64) -> None:
    """Write the derivatives of a moving sample by the parameters: shift, then rotation about `arm` or linear part."""
    for a in range(3):
        out[a] = gradient[0] * initial[0, a] + gradient[1] * initial[1, a] + gradient[2] * initial[2, a]
    if out.size == 6:
        out[3] = arm[1] * out[2] - arm[2] * out[1]
        out[4] = arm[2] * out[0] - arm[0] * out[2]
        out[5] = arm[0] * out[1] - arm[1] * out[0]
        return
    for i in range(3):
        for a in range(3):
            out[3 + 3 * i + a] = arm[i] * out[a]
