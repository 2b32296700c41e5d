"""Similarity of two images on one grid, over the foreground of the fixed one.

The foreground is where the fixed image, smoothed by a Gaussian of one voxel, is above its 75th percentile. NCC is
Pearson's correlation over the foreground that the aligned image covers. LNCC is the same correlation in each block of
16³ voxels that is at least a quarter foreground and covered whole; its mean and 10th percentile are given.

The blocks differ from the windows of `registration.metrics` on purpose: they belong to the images alone, so
results of other programs can be measured in the same way.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

BLOCK_SIDE = 16
SMOOTHING, FOREGROUND_PERCENTILE = 1.0, 75.0


@dataclass(frozen=True)
class Similarity:
    """NCC, mean and 10th percentile of LNCC over `lncc_blocks` blocks, and the share of the foreground covered.

    A value is None where it is undefined: nothing is covered, or an image is constant.
    """

    ncc: float | None
    lncc_mean: float | None
    lncc_p10: float | None
    lncc_blocks: int
    foreground_covered: float | None


@dataclass(frozen=True)
class MeasuredSimilarity:
    """A similarity, and the map of LNCC (z, y, x) over blocks of 16³ voxels, NaN where it is undefined."""

    summary: Similarity
    local: NDArray[np.float32]


def similarity(fixed: NDArray[np.float32], aligned: NDArray[np.float32], covered: NDArray[np.bool_]) -> Similarity:
    """Return the similarity of two images (z, y, x) on one grid; `covered` is where the aligned image has voxels."""
    return measure_similarity(fixed, aligned, covered).summary


def measure_similarity(
    fixed: NDArray[np.float32], aligned: NDArray[np.float32], covered: NDArray[np.bool_]
) -> MeasuredSimilarity:
    """Return the similarity of two images as `similarity` does, and its map."""
    smooth = ndimage.gaussian_filter(fixed, SMOOTHING)
    foreground = smooth > np.percentile(smooth, FOREGROUND_PERCENTILE)
    both = foreground & covered
    found = _correlation_map(fixed, aligned, foreground, covered)
    local = found[np.isfinite(found)]
    summary = Similarity(
        ncc=_correlation(fixed[both], aligned[both]),
        lncc_mean=float(local.mean()) if len(local) else None,
        lncc_p10=float(np.percentile(local, 10)) if len(local) else None,
        lncc_blocks=len(local),
        foreground_covered=float(both.sum() / foreground.sum()) if foreground.any() else None,
    )
    return MeasuredSimilarity(summary, found.astype(np.float32))


def _correlation(a: NDArray[np.float32], b: NDArray[np.float32]) -> float | None:
    if a.size < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    return float(np.corrcoef(a, b)[0, 1])


def local_correlations(
    fixed: NDArray[np.float32],
    aligned: NDArray[np.float32],
    foreground: NDArray[np.bool_],
    covered: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Return the correlations (n,) of the covered blocks with enough foreground; 0 for a constant block.

    The images, the foreground and what is covered are (z, y, x), on one grid.
    """
    found = _correlation_map(fixed, aligned, foreground, covered)
    return found[np.isfinite(found)]


def _correlation_map(
    fixed: NDArray[np.float32],
    aligned: NDArray[np.float32],
    foreground: NDArray[np.bool_],
    covered: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Return the correlations of `local_correlations` in their places (z, y, x), NaN for the other blocks."""
    use = (_blocks(foreground).mean(axis=1) >= 0.25) & (_blocks(covered).mean(axis=1) > 0.99)
    a, b = _blocks(fixed)[use].astype(np.float64), _blocks(aligned)[use].astype(np.float64)
    a -= a.mean(axis=1, keepdims=True)
    b -= b.mean(axis=1, keepdims=True)
    scale = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    local = np.full(len(use), np.nan)
    local[use] = np.divide((a * b).sum(axis=1), scale, out=np.zeros(len(a)), where=scale > 0)
    return local.reshape([n // BLOCK_SIDE for n in fixed.shape])


def _blocks(array: NDArray[np.generic]) -> NDArray[np.generic]:
    """Return the array (z, y, x) as whole blocks (n, BLOCK_SIDE³), without the remainder at the far faces."""
    z, y, x = (n // BLOCK_SIDE for n in array.shape)
    n = BLOCK_SIDE
    whole = array[: z * n, : y * n, : x * n].reshape(z, n, y, n, x, n)
    return whole.transpose(0, 2, 4, 1, 3, 5).reshape(z * y * x, n**3)
