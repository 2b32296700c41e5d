"""The agreement of two images, by measures of which higher is better.

Steps are judged by `Windows`, at sample points in small windows of the fixed foreground, before and after on the same
samples. "lncc" is the mean over windows of Pearson's correlation r = cov(f, m) / (σ_f σ_m), which neither light nor
bleaching changes; "mi" is mutual information in nats over all samples, "ms" minus the mean square of differences.

Local correlation has two more definitions. `deform_kernels.correlate` takes it in a dense window around every cell,
with floors for noise, since the deformable step needs its derivatives everywhere. `evaluation.similarity` takes it in
whole blocks of the final images, since the report must not depend on what the steps optimise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from teralign.grids import Bools, Floats, FloatTriple, Grid, as_float_triple
from teralign.registration.image import Image, Volume32, spacing_for
from teralign.transforms import Affine, Stack

Measure: TypeAlias = Literal["lncc", "mi", "ms"]

INFORMATION_BINS = 32
_SIDE = 6  # samples along a window's edge, 1.5 voxels apart: 9 voxels, some cells
MEASURED_VOXELS = 1_500_000
"""Voxels of the measured images, and of the finest level of the linear steps: a gain of hundredths of a voxel
beyond that is left to local alignment."""


def mutual_information(fixed: Volume32, moving: Volume32, bins: int = INFORMATION_BINS) -> float:
    """Return the mutual information in nats of two lists of samples, by a joint histogram of their middle 98 %."""
    low, high = np.transpose([np.percentile(a, (1, 99)) for a in (fixed, moving)]).tolist()
    return information(joint_counts(fixed, moving, low, high, bins))


def joint_counts(
    fixed: Volume32, moving: Volume32, low: Sequence[float], high: Sequence[float], bins: int = INFORMATION_BINS
) -> NDArray[np.int64]:
    """Return the counts (bins, bins) of pairs of values; the bins of each image lie between its `low` and its `high`.

    Values beyond belong to the outermost bins. An image whose `high` is not above its `low` gives no counts.
    """
    if any(b <= a for a, b in zip(low, high, strict=True)):
        return np.zeros((bins, bins), np.int64)
    index = [
        np.clip((values - a) * (bins / (b - a)), 0, bins - 1).astype(np.intp)
        for values, a, b in zip((fixed, moving), low, high, strict=True)
    ]
    return np.bincount(index[0] * bins + index[1], minlength=bins * bins).reshape(bins, bins)


def information(counts: NDArray[np.int64]) -> float:
    """Return the mutual information in nats of a joint histogram (bins, bins); NaN for an empty one."""
    if not counts.any():
        return math.nan
    joint = counts / counts.sum()
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
    inside: Bools
    moving: Image

    @classmethod
    def of(
        cls, fixed: Image, moving: Image, *, spacing: float | FloatTriple | None = None, count: int = 600
    ) -> Windows:
        """Return at most `count` windows spread evenly over the fixed foreground, each of at most `_SIDE`³ samples.

        The images are first brought to about `spacing` µm, by default as fine as a fixed budget of voxels allows.
        Windows are cubes; with one spacing an axis (z, y, x) they are boxes of as many voxels along each axis.
        """
        spacing = spacing or max(spacing_for(image.grid, MEASURED_VOXELS) for image in (fixed, moving))
        fixed, moving = fixed.downsample_to(spacing), moving.downsample_to(spacing)
        step = _sample_step(spacing, fixed.grid)
        centres = _foreground_lattice(fixed, step, count)
        # A window that reaches beyond the few planes of a thin stack would lie outside for the most part.
        thickness = np.minimum(fixed.grid.extent, moving.grid.extent)
        sides = [min(_SIDE, math.ceil(t / s)) for t, s in zip(thickness, step, strict=True)]
        axes = [np.arange(side) - (side - 1) / 2 for side in sides]
        offsets = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
        points = centres[:, None] + step * offsets
        return cls(points, *fixed.sample(points), moving)

    def fault(self) -> str:
        """Return the reason why nothing can be compared, a mask or a flat image; empty if there is none."""
        moving = self.moving.array if self.moving.mask is None else self.moving.array[self.moving.mask]
        for role, values in (("fixed", self.values[self.inside]), ("moving", moving)):
            if not values.size:
                return f"no voxel of the {role} image counts"
            if values.min() == values.max():
                return f"the {role} image has one value everywhere"
        return ""

    def negative(self) -> Windows:
        """Return the same windows on the negative of the moving image."""
        return Windows(self.points, self.values, self.inside, self.moving.negative())

    def score(self, transform: Stack | Affine, measure: Measure = "lncc") -> float:
        """Measure the agreement with the moving image through `transform`; NaN if a tenth or less is inside."""
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
        return -float(np.mean((f.astype(np.float64) - m) ** 2))


def _sample_step(spacing: float | FloatTriple, grid: Grid) -> Floats:
    """Return the distance (z, y, x) µm of a window's samples: one for all axes unless `spacing` has one an axis."""
    if isinstance(spacing, tuple):
        return 1.5 * np.maximum(spacing, grid.spacing)
    return np.full(3, 1.5 * max(spacing, *grid.spacing))


def _foreground_lattice(image: Image, step: Floats, count: int) -> Floats:
    """Return at most `count` points (N, 3) µm of a lattice, the brighter half of them, for windows.

    The samples of a window lie `step` (z, y, x) µm apart. Windows overlap by half where the image is small, and lie
    apart where it is large.
    """
    grid = image.grid
    shape = step / step.max()
    volume = math.prod(e / s for e, s in zip(grid.extent, shape.tolist(), strict=True))
    distances = as_float_triple(max(step.max() * _SIDE / 2, (volume / (2 * count)) ** (1 / 3)) * shape)
    axes = []
    for n, d, o, distance in zip(grid.shape, grid.spacing, grid.origin, distances, strict=True):
        steps = max(1, round(n * d / distance))
        axes.append(o - d / 2 + (np.arange(steps) + 0.5) * n * d / steps)
    points = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    # Four voxels a sigma are enough, and a blur takes as long as it is wide.
    z, y, x = distances
    blurred = image.downsample_to((z / 8, y / 8, x / 8)).smooth((z / 2, y / 2, x / 2))
    values, inside = blurred.sample(points)
    if not inside.any():
        return points[:0]
    points, values = points[inside], values[inside]
    order = np.argsort(-values, kind="stable")
    return np.asarray(points[np.sort(order[: min(count, max(8, len(order) // 2))])])


def _mean_correlation(fixed: Volume32, moving: Volume32, inside: Bools) -> float:
    """Return the mean over windows (rows) of the correlation of their samples that are inside."""
    count = inside.sum(axis=1)
    use = count > 0.5 * inside.shape[1]
    if not use.any():
        return math.nan
    w = inside[use].astype(np.float64)
    n = w.sum(axis=1, keepdims=True)
    f, m = (a[use] - (a[use] * w).sum(axis=1, keepdims=True) / n for a in (fixed, moving))
    ff, mm, fm = ((w * a * b).sum(axis=1) for a, b in ((f, f), (m, m), (f, m)))
    varies = (ff > 0) & (mm > 0)
    r = np.where(varies, fm / np.sqrt(np.where(varies, ff * mm, 1)), 0.0)
    return float(r.mean())
