"""Blobs: places where an image is brighter than its surroundings at some size.

The response at size σ is the difference of Gaussians

    R_σ = (G_σ − G_kσ) * v / (k − 1) ≈ −σ² ∇²G_σ * v,

with v the compressed brightness. A bright ball of radius r answers most at σ = r / √3. Blobs are maxima over position
and size, their positions refined to a fraction of a voxel by a parabola through the neighbours. Sizes are physical:
two images of different voxel size give comparable blobs.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from teralign.grids import Bools, Floats
from teralign.registration.image import Image, Volume32, compress_brightness

_VOXELS_A_RADIUS = 2.0  # of the smallest blobs: σ is then 1.2 voxels, which a Gaussian needs to be sampled well
_CELLS_A_BLOB = 1 / 12  # for spreading: cells hold a dozen blobs on average


@dataclass(frozen=True)
class Blobs:
    """Positions (N, 3) µm and strengths (N,), strongest first."""

    points: Floats
    strengths: Floats

    def __len__(self) -> int:
        return len(self.points)

    def take(self, index: NDArray[np.intp]) -> Blobs:
        """Return the blobs of these indices."""
        return Blobs(self.points[index], self.strengths[index])


def find_blobs(
    image: Image,
    radii: Sequence[float],
    *,
    count: int,
    min_strength: float = 0.01,
    clip: tuple[float, float] | None = None,
) -> Blobs:
    """Find the `count` strongest blobs with radii among `radii` µm (ascending), spread over the image.

    Blobs weaker than `min_strength` times the strongest are left out. `clip` has the shares of the darkest and of the
    brightest voxels whose brightness is clipped.
    """
    image = image.downsample_to(radii[0] / _VOXELS_A_RADIUS)
    array = image.array.astype(np.float32, copy=False)
    if clip is not None:
        low, high = np.quantile(array[::2, ::2, ::2], (clip[0], 1 - clip[1]))
        array = np.clip(array, low, high)
    array = compress_brightness(array)
    if image.mask is not None and image.mask.any():
        array = np.where(image.mask, array, np.median(array[image.mask]))
    responses = _responses(array, [r / math.sqrt(3) for r in radii], image.grid.spacing)
    peaks = [_maxima(responses, k, image.mask) for k in range(len(responses))]
    index = np.concatenate(peaks)
    if not len(index):
        return Blobs(np.empty((0, 3)), np.empty(0))
    sizes = np.repeat(np.arange(len(peaks)), [len(p) for p in peaks])
    strengths = np.array([responses[k][tuple(i)] for k, i in zip(sizes, index, strict=True)], dtype=np.float64)
    keep = strengths >= min_strength * strengths.max()
    index, sizes, strengths = index[keep], sizes[keep], strengths[keep]
    points = image.grid.to_physical(index + _subvoxel(responses, sizes, index))
    order = _spread(points, strengths, count)
    blobs = Blobs(points[order], strengths[order])
    return blobs.take(_apart(blobs, 0.5 * radii[0]))


def _responses(array: Volume32, sigmas: Sequence[float], spacing: Sequence[float]) -> list[Volume32]:
    """Return the responses of all sizes, sigmas in µm; each Gaussian is made from the one before it."""
    ratio = (sigmas[-1] / sigmas[0]) ** (1 / (len(sigmas) - 1)) if len(sigmas) > 1 else 2 ** (1 / 3)
    blurred, had, previous = [], 0.0, array
    for sigma in [*sigmas, sigmas[-1] * ratio]:
        more = math.sqrt(max(sigma**2 - had**2, 0))
        previous = ndimage.gaussian_filter(previous, [more / d for d in spacing], mode="nearest", truncate=3.0)
        blurred.append(previous)
        had = sigma
    return [(a - b) / np.float32(ratio - 1) for a, b in itertools.pairwise(blurred)]


def _maxima(responses: Sequence[Volume32], k: int, mask: Bools | None) -> NDArray[np.intp]:
    """Return the voxels (N, 3) where the response of size k is at least that of its neighbours in space and size."""
    here = responses[k]
    peak = here > 0
    for other in {k - 1, k + 1} & set(range(len(responses))):
        peak &= here >= responses[other]
    if mask is not None:
        peak &= mask
    for axis in range(3):
        low, high = ((slice(None),) * axis + (half,) for half in (slice(None, -1), slice(1, None)))
        peak[low] &= here[low] >= here[high]
        peak[high] &= here[high] >= here[low]
    # The neighbours across edges and corners only of the few that are left: a filter over all voxels takes long.
    index, last = np.argwhere(peak), np.array(here.shape) - 1
    for step in itertools.product((-1, 0, 1), repeat=3):
        index = index[here[tuple(index.T)] >= here[tuple(np.clip(index + step, 0, last).T)]]
    return index


def _subvoxel(responses: Sequence[Volume32], sizes: NDArray[np.intp], index: NDArray[np.intp]) -> Floats:
    """Return the offsets (N, 3) in voxels of the tops of parabolas through the responses at each maximum."""
    stack = np.stack(responses)
    last = np.array(stack.shape[1:]) - 1
    offsets = np.zeros(index.shape)
    for axis in range(3):
        step = np.eye(3, dtype=np.intp)[axis]
        a, b, c = (stack[(sizes, *np.clip(index + s * step, 0, last).T)].astype(np.float64) for s in (-1, 0, 1))
        curve = a - 2 * b + c
        edge = (index[:, axis] == 0) | (index[:, axis] == last[axis])
        good = (curve < 0) & ~edge
        offsets[good, axis] = np.clip((a - c)[good] / (2 * curve[good]), -0.5, 0.5)
    return offsets


def _spread(points: Floats, strengths: Floats, count: int) -> NDArray[np.intp]:
    """Return the indices of `count` blobs, best first; a blob counts less the more stronger blobs are near it."""
    low, high = points.min(axis=0), points.max(axis=0)
    side = max(float(np.prod(np.maximum(high - low, 1e-9)) / max(1.0, count * _CELLS_A_BLOB)) ** (1 / 3), 1e-9)
    cell = np.floor((points - low) / side).astype(np.intp)
    _, cell = np.unique(cell, axis=0, return_inverse=True)
    order = np.lexsort((-strengths, cell.ravel()))
    groups = cell.ravel()[order]
    first = np.r_[0, np.flatnonzero(np.diff(groups)) + 1]
    rank = np.empty(len(points))
    rank[order] = np.arange(len(points)) - np.repeat(first, np.diff(np.r_[first, len(points)]))
    merit = strengths / np.sqrt(1 + rank * _CELLS_A_BLOB)
    best: NDArray[np.intp] = np.argsort(-merit, kind="stable")[:count]
    return best


def _apart(blobs: Blobs, distance: float) -> NDArray[np.intp]:
    """Return the indices of blobs without a stronger blob within `distance` µm."""
    pairs = cKDTree(blobs.points).query_pairs(distance, output_type="ndarray")
    keep = np.ones(len(blobs), bool)
    keep[pairs.max(axis=1)] = False
    return np.flatnonzero(keep)
