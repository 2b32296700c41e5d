"""The shift between two images to a hundredth of a voxel, by Gauss-Newton steps on their band-passed overlap.

The step of symmetric gradients (S. Benhimane, E. Malis, Real-time image-based tracking of planes using efficient
second-order minimization, IROS 2004) with the residual r = f − a·m ends where the correlation is stationary.
Products of an image with itself say nothing of the shift, and are left out. In the score, ½ Σ (∇f + a∇m) (f − a·m),
the sums of f∇f and m∇m are what the overlap's faces differ by: they pull tiles of unlike brightness, which lose
light with depth, by a tenth of a voxel. In the matrix, with the squares of one gradient, as B. D. Lucas and T. Kanade
have it, steps are too short where noise is as strong as tissue.

The standard error is that of an M-estimator, H⁻¹ V H⁻¹, with V the sum of the squared scores of blocks of the overlap
(P. J. Huber, The behavior of maximum likelihood estimates under nonstandard conditions, 1967): what differs between
the two images for any reason, not noise alone, widens it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from teralign.grids import Bools, Floats, Triple, as_triple
from teralign.stitching.correlate import Correlation, overlap_at
from teralign.stitching.filters import TAPS, sample_between
from teralign.stitching.kernels import BLOCK_SUMS, block_sums

_STEPS = 4
_SETTLED = 0.01  # voxels
_LONGEST = 0.7  # voxels: of a step; maxima of the band-passed correlation are about two voxels wide
_BLOCKS = 5  # along an axis, for the standard error
_LEAST_BLOCK = 4  # voxels
_LEAST_AXIS = TAPS  # voxels: a thinner overlap is not measured along that axis


@dataclass(frozen=True)
class Refined:
    """The lag (3,) in voxels, its standard error (3,), the correlation there, and the voxels of the overlap.

    The error is infinite along an axis that cannot be measured.
    """

    lag: Floats
    error: Floats
    ncc: float
    voxels: int


def refine_lag(images: Correlation, lag: Triple) -> Refined:
    """Refine the lag of two band-passed images from a maximum of their correlation."""
    found = np.array(lag, float)
    for _ in range(_STEPS):
        sums, free, size = _sums(images, found)
        step, error, ncc = _step(sums, free)
        found = found - step
        if np.abs(step).max() < _SETTLED:
            break
    return Refined(found, error, ncc, size)


def _sums(images: Correlation, lag: Floats) -> tuple[Floats, Bools, int]:
    """Return the sums of each block (n, BLOCK_SUMS), the axes that are measured, and the number of voxels."""
    whole = as_triple(np.round(lag))
    a, b = overlap_at(images.fixed.shape, images.moving.shape, whole)
    free = np.array([n >= _LEAST_AXIS for n in a.shape])
    fixed = images.fixed[a.slices]
    moving = sample_between(images.moving[b.slices], np.where(free, np.array(whole) - lag, 0.0))
    ff, mm = float(np.vdot(fixed, fixed)), float(np.vdot(moving, moving))
    block = as_triple(max(_LEAST_BLOCK, -(-n // _BLOCKS)) for n in a.shape)
    sums = np.zeros((*(-(-n // size) for n, size in zip(a.shape, block, strict=True)), BLOCK_SUMS))
    block_sums(fixed, moving, math.sqrt(ff / mm) if mm > 0 else 0.0, block, sums)
    return sums.reshape(-1, BLOCK_SUMS), free, a.size


def _step(sums: Floats, free: Bools) -> tuple[Floats, Floats, float]:
    """Return the step of the sampling point (3,), the standard error (3,) and the correlation."""
    ff, mm, fm = sums[:, :3].sum(axis=0)
    ncc = float(fm / math.sqrt(ff * mm)) if ff > 0 and mm > 0 else 0.0
    step, error = np.zeros(3), np.full(3, np.inf)
    blocks = sums[:, [6, 9, 10, 9, 7, 11, 10, 11, 8]].reshape(-1, 3, 3)[:, free][:, :, free]
    matrix = blocks.sum(axis=0)
    if not free.any() or np.linalg.eigvalsh(matrix)[0] <= 0:
        return step, error, ncc
    inverse = np.linalg.inv(matrix)
    step[free] = inverse @ sums[:, 3:6].sum(axis=0)[free]
    scores = sums[:, 3:6][:, free] - blocks @ step[free]
    error[free] = np.sqrt(np.diag(inverse @ (scores.T @ scores) @ inverse))
    return np.clip(step, -_LONGEST, _LONGEST), error, ncc
