"""Correlation of two images at whole shifts: all of a window by Fourier transform, single ones exactly.

A lag (z, y, x) is the voxel of the fixed image at which the first voxel of the moving image lies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy import fft

from teralign.grids import Region, Triple, as_triple
from teralign.stitching.kernels import Image32, correlation_at

_APART = 3  # voxels between two maxima that count as two
_MAX_STEPS = 40  # of a climb; a window has no more voxels on its longest path


def overlap_at(fixed: Sequence[int], moving: Sequence[int], lag: Sequence[int]) -> tuple[Region, Region]:
    """Return the voxels that two images of these shapes share at a lag: a region of each."""
    start = as_triple(max(0, shift) for shift in lag)
    stop = as_triple(max(a, min(n, m + shift)) for a, n, m, shift in zip(start, fixed, moving, lag, strict=True))
    region = Region(start, stop)
    return region, region.shift([-shift for shift in lag])


@dataclass
class Correlation:
    """The correlation coefficient of two band-passed images, whose means are about 0, at whole lags.

    It is −1 where fewer than `least` voxels overlap along an axis, or all of a shorter axis.
    """

    fixed: Image32
    moving: Image32
    least: int
    _known: dict[Triple, float] = field(default_factory=dict, init=False)

    def at(self, lag: Triple) -> float:
        """Return the coefficient at a lag, computed once."""
        if lag not in self._known:
            self._known[lag] = correlation_at(self.fixed, self.moving, lag, self.least)
        return self._known[lag]

    def climb(self, lag: Triple) -> Triple:
        """Return the maximum that is reached from a lag, one voxel along one axis at a time."""
        axes = [axis for axis, n in enumerate(self.fixed.shape) if n > 1]
        for _ in range(_MAX_STEPS):
            around = [_moved(lag, axis, step) for axis in axes for step in (-1, 1)]
            best = max(around, key=self.at, default=lag)
            if self.at(best) <= self.at(lag):
                break
            lag = best
        return lag

    def peaks(self, low: Triple, high: Triple, count: int) -> list[Triple]:
        """Return the `count` largest maxima of the window from `low` to `high`, the largest first.

        They are found in the correlation of all voxels by Fourier transform, divided by the root of how many overlap:
        so its noise is the same at all lags.
        """
        score, starts = self._scores(low, high), np.array(low)
        found: list[Triple] = []
        for _ in range(count):
            peak = np.unravel_index(int(np.argmax(score)), score.shape)
            if score[peak] <= 0:
                break
            found.append(as_triple(starts + peak))
            score[tuple(slice(max(0, int(i) - _APART), int(i) + _APART + 1) for i in peak)] = 0
        return found

    def _scores(self, low: Triple, high: Triple) -> Image32:
        shapes = list(zip(self.fixed.shape, self.moving.shape, low, high, strict=True))
        padded = [fft.next_fast_len(max(n, m, n - a, m + b), real=True) for n, m, a, b in shapes]
        spectrum = fft.rfftn(self.fixed, padded)
        spectrum *= np.conj(fft.rfftn(self.moving, padded))
        lags = [np.arange(a, b + 1) for a, b in zip(low, high, strict=True)]
        whole = fft.irfftn(spectrum, padded, overwrite_x=True)
        score: Image32 = whole[np.ix_(*(lag % n for lag, n in zip(lags, padded, strict=True)))]
        for axis, (lag, n, m) in enumerate(zip(lags, self.fixed.shape, self.moving.shape, strict=True)):
            shared = np.clip(np.minimum(n, m + lag) - np.maximum(0, lag), 0, None)
            share = np.where(shared < min(self.least, n), 0, 1 / np.sqrt(np.maximum(1, shared)))
            score *= np.expand_dims(share, [a for a in range(3) if a != axis]).astype(np.float32)
        return score


def distinct(a: Triple, b: Triple) -> bool:
    """Return whether two lags are too far apart to be of one maximum."""
    return max(abs(p - q) for p, q in zip(a, b, strict=True)) > _APART


def _moved(lag: Triple, axis: int, step: int) -> Triple:
    z, y, x = lag
    return (z + step, y, x) if axis == 0 else (z, y + step, x) if axis == 1 else (z, y, x + step)
