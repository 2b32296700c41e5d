"""How alike two images are, higher is better.

`ncc` is Pearson's correlation r = cov(f, m) / (σ_f σ_m) over all voxels that count; `lncc` is its mean over small
windows, which neither light nor bleaching upsets. Steps are judged by `Windows`: window correlation (or another
measure) at fixed sample points of the fixed foreground, before and after on the same samples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from teralign.grids import Floats
from teralign.registration.image import Image, Mask, Volume32, spacing_for
from teralign.transforms import Affine, Stack

Measure: TypeAlias = Literal["lncc", "ncc", "mi", "ms"]

_SIDE = 6  # samples along a window's edge
_VOXELS = 1_500_000  # of the images that are sampled


def ncc(fixed: NDArray[np.floating], moving: NDArray[np.floating], mask: Mask | None = None) -> float:
    """Pearson's correlation of two arrays of one shape, where the mask is True; NaN if either is flat there."""
    f, m = (a.ravel() if mask is None else a[mask] for a in (fixed, moving))
    if f.size < 2:
        return math.nan
    f, m = f - f.mean(dtype=np.float64), m - m.mean(dtype=np.float64)
    scale = math.sqrt(float(f @ f) * float(m @ m))
    return float(f @ m) / scale if scale > 0 else math.nan


def lncc(fixed: NDArray[np.floating], moving: NDArray[np.floating], radius: int, mask: Mask | None = None) -> float:
    """The mean correlation in windows of (2 · radius + 1)³ voxels around the voxels where the mask is True.

    Both arrays are (z, y, x) on one grid. Voxels whose window is flat in either do not count; NaN if none counts.
    """
    values = local_correlation(fixed, moving, radius)
    values = values.ravel() if mask is None else values[mask]
    return float(np.nanmean(values)) if np.isfinite(values).any() else math.nan


def local_correlation(fixed: NDArray[np.floating], moving: NDArray[np.floating], radius: int) -> Volume32:
    """Pearson's correlation in the window of (2 · radius + 1)³ voxels around each voxel; NaN where one is flat."""
    f, m = (a.astype(np.float64) - a.mean(dtype=np.float64) for a in (fixed, moving))

    def mean(a: NDArray[np.float64]) -> NDArray[np.float64]:
        box: NDArray[np.float64] = ndimage.uniform_filter(a, 2 * radius + 1, mode="nearest")
        return box

    mean_f, mean_m = mean(f), mean(m)
    covariance = mean(f * m) - mean_f * mean_m
    variance = (mean(f * f) - mean_f**2) * (mean(m * m) - mean_m**2)
    flat = variance <= 1e-10 * f.var() * m.var()
    result: Volume32 = np.where(flat, np.nan, covariance / np.sqrt(np.where(flat, 1, variance))).astype(np.float32)
    return result


def mutual_information(fixed: Volume32, moving: Volume32, bins: int = 32) -> float:
    """Mutual information in nats of two lists of samples, by a joint histogram of their middle 98 %."""
    edges = [np.percentile(a, (1, 99)) for a in (fixed, moving)]
    if any(high <= low for low, high in edges):
        return math.nan
    index = [
        np.clip((a - low) * (bins / (high - low)), 0, bins - 1).astype(np.intp)
        for a, (low, high) in zip((fixed, moving), edges, strict=True)
    ]
    joint = np.bincount(index[0] * bins + index[1], minlength=bins * bins).reshape(bins, bins) / fixed.size
    apart = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    some = joint > 0
    return float((joint[some] * np.log(joint[some] / apart[some])).sum())


@dataclass(frozen=True)
class Windows:
    """Sample points in cubic windows of the fixed foreground, the fixed values there, and the moving image.

    points: (windows, samples, 3) µm; values and inside: (windows, samples).
    """

    points: Floats
    values: Volume32
    inside: Mask
    moving: Image

    @classmethod
    def of(cls, fixed: Image, moving: Image, *, spacing: float | None = None, count: int = 600) -> Windows:
        """At most `count` windows spread evenly over the fixed foreground, each of `_SIDE`³ samples.

        The images are first brought to about `spacing` µm, by default as fine as a fixed budget of voxels allows.
        """
        spacing = spacing or max(spacing_for(image.grid, _VOXELS) for image in (fixed, moving))
        fixed, moving = fixed.coarsen_to(spacing), moving.coarsen_to(spacing)
        step = 1.5 * max(spacing, *fixed.grid.spacing)
        centres = _foreground_lattice(fixed, step * _SIDE, count)
        offsets = np.stack(np.meshgrid(*[np.arange(_SIDE) - (_SIDE - 1) / 2] * 3, indexing="ij"), -1).reshape(-1, 3)
        points = centres[:, None] + step * offsets
        return cls(points, *fixed.sample(points), moving)

    def fault(self) -> str:
        """Why nothing can be compared, if so: what is masked out, or flat. Empty if all is well."""
        moving = self.moving.array if self.moving.mask is None else self.moving.array[self.moving.mask]
        for role, values in (("fixed", self.values[self.inside]), ("moving", moving)):
            if not values.size:
                return f"no voxel of the {role} image counts"
            if values.min() == values.max():
                return f"the {role} image has one value everywhere"
        return ""

    def negative(self) -> Windows:
        """The same windows on the moving image with dark and bright exchanged."""
        return Windows(self.points, self.values, self.inside, self.moving.negative())

    def score(self, transform: Stack | Affine, measure: Measure = "lncc") -> float:
        """How well the moving image, looked up through `transform`, agrees: NaN if a tenth or less is inside."""
        values, inside = self.moving.sample(
            transform.map_points(self.points.reshape(-1, 3)).reshape(self.points.shape)
        )
        inside &= self.inside
        if inside.sum() <= 0.1 * self.inside.sum():
            return math.nan
        if measure == "lncc":
            return _mean_correlation(self.values, values, inside)
        f, m = self.values[inside], values[inside]
        if measure == "mi":
            return mutual_information(f, m)
        if measure == "ms":
            return -float(np.mean((f.astype(np.float64) - m) ** 2))
        return ncc(f, m)


def _foreground_lattice(image: Image, window: float, most: int) -> Floats:
    """At most `most` points (N, 3) µm of a lattice, the brighter half of them, for windows of `window` µm.

    Windows overlap by half where the image is small, and lie apart where it is large.
    """
    grid = image.grid
    distance = max(window / 2, (math.prod(grid.extent) / (2 * most)) ** (1 / 3))
    axes = []
    for n, d, o in zip(grid.shape, grid.spacing, grid.origin, strict=True):
        count = max(1, round(n * d / distance))
        axes.append(o - d / 2 + (np.arange(count) + 0.5) * n * d / count)
    points = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    # Four voxels a sigma are enough, and a blur takes as long as it is wide.
    blurred = image.coarsen_to(distance / 8).smooth(distance / 2)
    values, inside = blurred.sample(points)
    if not inside.any():
        return points[:0]
    points, values = points[inside], values[inside]
    order = np.argsort(-values, kind="stable")
    return np.asarray(points[np.sort(order[: min(most, max(8, len(order) // 2))])])


def _mean_correlation(fixed: Volume32, moving: Volume32, inside: Mask) -> float:
    """The mean over windows (rows) of the correlation of their samples that are inside."""
    count = inside.sum(axis=1)
    use = count > 0.5 * inside.shape[1]
    if not use.any():
        return math.nan
    w = inside[use].astype(np.float64)
    n = w.sum(axis=1, keepdims=True)
    f, m = (a[use] - (a[use] * w).sum(axis=1, keepdims=True) / n for a in (fixed, moving))
    ff, mm, fm = ((w * a * b).sum(axis=1) for a, b in ((f, f), (m, m), (f, m)))
    some = (ff > 0) & (mm > 0)
    r = np.where(some, fm / np.sqrt(np.where(some, ff * mm, 1)), 0.0)
    return float(r.mean())
