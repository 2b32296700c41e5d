"""Similarity of two images on one grid, block by block: the figures of `similarity` for volumes of any size.

NCC and LNCC are as `evaluation.similarity` defines them, and the mutual information is that of
`registration.metrics`, over the same voxels as NCC: the foreground that the aligned image covers. The fixed volume is
read four times, and the aligned one three times: its intensity ranges must be known before the joint histogram.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from teralign.blockwise import WriteUnits
from teralign.evaluation.on_grid import OnGrid
from teralign.evaluation.percentiles import Counts, Percentiles, count_leading, count_rest
from teralign.evaluation.similarity import FOREGROUND_PERCENTILE, SMOOTHING, Similarity, local_correlations
from teralign.evaluation.streaming import BLOCK, OnThreads, OverBlocks
from teralign.grids import Bools, Region, Triple
from teralign.registration.metrics import INFORMATION_BINS, information, joint_counts

_REACH = (5, 5, 5)  # voxels that the smoothing of one voxel's sigma reaches
_MIDDLE = (1.0, 99.0)  # percentiles between which the joint histogram has its bins
_ROUNDING = 1e-13  # of a sum of squares
Voxels32 = NDArray[np.float32]
R = TypeVar("R")


@dataclass(frozen=True)
class ImageScores(Similarity):
    """The similarity of two images, their mutual information in nats, and how many voxels both rest upon."""

    mutual_information: float | None
    voxels: int


@dataclass(frozen=True)
class _Part:
    """The share of one block in the scores."""

    foreground: int
    sums: NDArray[np.float64]
    local: NDArray[np.float64]
    fixed: Counts
    aligned: Counts


def score_images(
    fixed: OnGrid,
    aligned: OnGrid,
    shape: Triple,
    *,
    block: Triple = BLOCK,
    over: OverBlocks = OnThreads(),
    stage: str = "images",
) -> ImageScores:
    """Return the similarity of two images on a grid of `shape` voxels, a `block` at a time.

    The sides of a block must be multiples of 16, so that the blocks of LNCC lie whole in it. `stage` begins the names
    of the passes.
    """
    pair = _Pair(fixed, aligned, Region.whole(shape))
    blocks = _Passes(over, WriteUnits(shape, block), stage)
    pair.threshold = pair.find_threshold(blocks)
    sums, local, foreground = np.zeros(6), [], 0
    ranges = Percentiles(_MIDDLE), Percentiles(_MIDDLE)
    for part in blocks(pair.measure, "sums"):
        foreground += part.foreground
        sums += part.sums
        local.append(part.local)
        for found, counts in zip(ranges, (part.fixed, part.aligned), strict=True):
            found.add_leading(counts)
    low, high = pair.find_ranges(ranges, blocks)
    joint = np.zeros((INFORMATION_BINS, INFORMATION_BINS), np.int64)
    for found_here in blocks(lambda region: pair.joint(region, low, high), "joint"):
        joint += found_here
    correlations, told = np.concatenate(local), information(joint)
    voxels = int(sums[0])
    return ImageScores(
        ncc=_correlation(sums),
        lncc_mean=float(correlations.mean()) if len(correlations) else None,
        lncc_p10=float(np.percentile(correlations, 10)) if len(correlations) else None,
        lncc_blocks=len(correlations),
        foreground_covered=voxels / foreground if foreground else None,
        mutual_information=told if math.isfinite(told) else None,
        voxels=voxels,
    )


@dataclass(frozen=True)
class _Passes:
    """Passes over the same blocks."""

    over: OverBlocks
    units: WriteUnits
    stage: str

    def __call__(self, function: Callable[[Region], R], name: str) -> Iterator[R]:
        return self.over(function, self.units, f"{self.stage}-{name}")


@dataclass
class _Pair:
    """The images, and the smoothed intensity of the fixed one above which is foreground."""

    fixed: OnGrid
    aligned: OnGrid
    whole: Region
    threshold: float = math.inf

    def find_threshold(self, blocks: _Passes) -> float:
        """Return the percentile of the smoothed fixed image that its foreground exceeds."""
        wanted = Percentiles((FOREGROUND_PERCENTILE,))
        for counts in blocks(lambda region: count_leading(self._fixed(region)[1]), "smooth"):
            wanted.add_leading(counts)
        wanted.end_first_pass()
        near = wanted.near
        for counts in blocks(lambda region: count_rest(self._fixed(region)[1], near), "smooth-rest"):
            wanted.add_rest(counts)
        return wanted.values()[0]

    def measure(self, region: Region) -> _Part:
        """Return the foreground, sums of products, local correlations and intensities of a block."""
        fixed, foreground, aligned, covered = self._both(region)
        both = foreground & covered
        f, a = fixed[both], aligned[both]
        return _Part(
            foreground=int(foreground.sum()),
            sums=_moments(f, a),
            local=local_correlations(fixed, aligned, foreground, covered),
            fixed=count_leading(f),
            aligned=count_leading(a),
        )

    def find_ranges(
        self, ranges: tuple[Percentiles, Percentiles], blocks: _Passes
    ) -> tuple[tuple[float, float], tuple[float, float]]:
        """Return the low and the high ends of both images' middle 98 % over the counted voxels."""
        for wanted in ranges:
            wanted.end_first_pass()
        near = [wanted.near for wanted in ranges]

        def rest(region: Region) -> list[Counts]:
            values = self._counted(region)
            return [count_rest(some, leading) for some, leading in zip(values, near, strict=True)]

        for found in blocks(rest, "rest"):
            for wanted, counts in zip(ranges, found, strict=True):
                wanted.add_rest(counts)
        (low_f, high_f), (low_a, high_a) = (wanted.values() for wanted in ranges)
        return (low_f, low_a), (high_f, high_a)

    def joint(self, region: Region, low: Sequence[float], high: Sequence[float]) -> NDArray[np.int64]:
        """Return the joint histogram of the counted voxels of a block."""
        return joint_counts(*self._counted(region), low, high)

    def _counted(self, region: Region) -> tuple[Voxels32, Voxels32]:
        fixed, foreground, aligned, covered = self._both(region)
        both = foreground & covered
        return fixed[both], aligned[both]

    def _both(self, region: Region) -> tuple[Voxels32, Bools, Voxels32, Bools]:
        fixed, smooth = self._fixed(region)
        return fixed, smooth > self.threshold, *self.aligned.read_covered(region)

    def _fixed(self, region: Region) -> tuple[Voxels32, Voxels32]:
        """Return the fixed voxels of a block, as they are and smoothed."""
        wide = region.grow(_REACH).intersect(self.whole)
        fixed, _ = self.fixed.read_covered(wide)
        smooth = ndimage.gaussian_filter(fixed, SMOOTHING)
        inner = region.relative_to(wide).slices
        return fixed[inner], smooth[inner]


def _moments(fixed: Voxels32, aligned: Voxels32) -> NDArray[np.float64]:
    """Return the number of values, their sums, the sums of their squares, and of their products."""
    f, a = fixed.astype(np.float64), aligned.astype(np.float64)
    return np.array([f.size, f.sum(), a.sum(), f @ f, a @ a, f @ a])


def _correlation(sums: NDArray[np.float64]) -> float | None:
    """Return Pearson's correlation, None where an image is constant or nothing is covered."""
    n, f, a, ff, aa, fa = map(float, sums)
    if n < 3:
        return None
    varies_f, varies_a = ff - f * f / n, aa - a * a / n
    if varies_f <= _ROUNDING * ff or varies_a <= _ROUNDING * aa:
        return None
    return (fa - f * a / n) / math.sqrt(varies_f * varies_a)
