"""The linear map that makes two images correlate best in small windows, by Gauss–Newton.

In each window w the samples of either image are made zero-mean and of unit length, f̂ and m̂, so that neither light
nor bleaching counts; their inner product is the window's correlation r. With the moving image seen through S(T(x)), S
what came before, the sum

    E = Σ_w k_w ‖f̂ − m̂‖² = Σ_w k_w (2 − 2 r_w),    k_w = max(r_w, 0) + ε,

is lowered over the parameters of T. The derivative of m̂ by a parameter p is P (∂m/∂p) / ‖m − mean m‖, P the
projection that takes out mean and m̂ itself, and ∂m/∂p = ∇m(y) · S · ∂T/∂p. Windows that do not match yet count little
(k_w). Steps are damped (Levenberg–Marquardt) and taken only if the mean correlation grows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from teralign.grids import Floats
from teralign.registration import window_kernels
from teralign.registration.image import Image, Volume32
from teralign.registration.metrics import Windows
from teralign.transforms import Affine

_ITERATIONS = 25
_SMALL_STEP = 0.01  # voxels; a smaller step at the corners, which no image resolves, ends a level
_KEPT_WEIGHT = 0.05  # of windows that do not correlate: with 0 they could never come to match


@dataclass(frozen=True)
class _Linearised:
    """Windows at one map: mean correlation, and the normal equations of a step from it."""

    score: float
    normal: Floats
    slope: Floats


def refine(
    windows: Windows, matrix: Floats, initial: Affine, centre: Floats, *, rigid: bool, spacing: float
) -> tuple[Floats, int]:
    """Return the (4, 4) map T, from `matrix`, under which the windows correlate best, and the number of iterations.

    `initial` is S; T turns about `centre` (µm) and stays rigid where asked; `spacing` is that of the voxels in µm.
    """
    reach = float(np.abs(windows.points - centre).max()) or 1.0
    slopes = _gradient(windows.moving)
    damping = 1e-3
    here = _linearise(windows, slopes, matrix, initial, centre, reach, rigid=rigid)
    for iteration in range(_ITERATIONS):
        damped = here.normal + damping * np.diag(np.diag(here.normal) + 1e-12)
        step: Floats = np.asarray(np.linalg.lstsq(damped, here.slope)[0], dtype=np.float64)
        proposed = _stepped(matrix, step, centre, reach, rigid=rigid)
        there = _linearise(windows, slopes, proposed, initial, centre, reach, rigid=rigid)
        if there.score > here.score:
            gain = there.score - here.score
            matrix, here, damping = proposed, there, damping / 5
            if np.abs(step).max() < _SMALL_STEP * spacing or gain < 1e-6:
                return matrix, iteration + 1
        else:
            damping = max(damping, 1e-4) * 10
            if damping > 1e2 or np.abs(step).max() < _SMALL_STEP * spacing:
                return matrix, iteration + 1
    return matrix, _ITERATIONS


def _gradient(image: Image) -> Volume32:
    """Return the derivatives (3, z, y, x) of an image per µm; 0 along an axis of a single voxel."""
    slopes = np.zeros((3, *image.array.shape), np.float32)
    for axis, (count, spacing) in enumerate(zip(image.grid.shape, image.grid.spacing, strict=True)):
        if count > 1:
            slopes[axis] = np.gradient(image.array, spacing, axis=axis)
    return slopes


def _linearise(
    windows: Windows, slopes: Volume32, matrix: Floats, initial: Affine, centre: Floats, reach: float, *, rigid: bool
) -> _Linearised:
    size = 6 if rigid else 12
    image = windows.moving
    normal, slope = np.zeros((size, size)), np.zeros(size)
    to_index = initial.matrix.copy()
    to_index[:3, 3] -= image.grid.origin
    to_index[:3] /= np.array(image.grid.spacing)[:, None]
    start = window_kernels.StepMap(
        matrix=matrix,
        to_index=to_index,
        initial=initial.matrix[:3, :3].copy(),
        pivot=matrix[:3, :3] @ centre + matrix[:3, 3] if rigid else centre,
        reach=reach,
    )
    total, used = window_kernels.linearise(
        windows.points,
        windows.values,
        windows.inside,
        np.ascontiguousarray(image.array),
        slopes,
        np.ones((1, 1, 1), bool) if image.mask is None else image.mask,
        start,
        _KEPT_WEIGHT,
        normal,
        slope,
    )
    if not used:
        return _Linearised(-np.inf, np.eye(size), slope)
    return _Linearised(total / used, normal, slope)


def _stepped(matrix: Floats, step: Floats, centre: Floats, reach: float, *, rigid: bool) -> Floats:
    """Return the map after a step: shift in µm, and turn (rigid) or linear part in µm at `reach`."""
    result = matrix.copy()
    if rigid:
        pivot = matrix[:3, :3] @ centre + matrix[:3, 3]
        turn = Rotation.from_rotvec(step[3:] / reach).as_matrix()
        result[:3, :3] = turn @ matrix[:3, :3]
        result[:3, 3] = turn @ (matrix[:3, 3] - pivot) + pivot + step[:3]
        return result
    change = step.reshape(4, 3)
    result[:3, :3] += change[1:].T / reach
    result[:3, 3] += change[0] - change[1:].T @ centre / reach
    return result
