"""Statistics of any number of Jacobian determinants in one pass.

Percentiles come from counts of float32 values by their leading bits, which sort as the values do. A bin is 1/2000 of
its value wide, whatever the value; the counts take 8 MiB.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from teralign.evaluation.percentiles import from_ordered_bits, ordered_bits

_DROPPED = 12  # of 32 bits: sign, exponent and 11 bits of the mantissa stay


@dataclass(frozen=True)
class VolumeChangeSummary:
    """The minimum of Jacobian determinants, their 1st, 50th and 99th percentile, and the share that is 0 or less."""

    min: float
    p1: float
    median: float
    p99: float
    folded_share: float


class VolumeChange:
    """The distribution of determinants that are added part by part, in any order."""

    def __init__(self) -> None:
        self._min, self.max, self._folded = math.inf, -math.inf, 0
        self._counts = np.zeros(1 << (32 - _DROPPED), np.int64)

    def add(self, determinants: NDArray[np.float32]) -> None:
        """Count determinants, an array of any shape."""
        if determinants.size == 0:
            return
        self._min = min(self._min, float(determinants.min()))
        self.max = max(self.max, float(determinants.max()))
        self._folded += int((determinants <= 0).sum())
        bins = ordered_bits(determinants.ravel()) >> np.uint32(_DROPPED)
        found, counts = np.unique(bins, return_counts=True)
        self._counts[found] += counts

    def summary(self) -> VolumeChangeSummary:
        """Return the statistics of the determinants so far, at least one."""
        total = int(self._counts.sum())
        p1, median, p99 = self.percentiles((0.01, 0.5, 0.99))
        return VolumeChangeSummary(self._min, p1, median, p99, self._folded / total)

    def percentiles(self, shares: Sequence[float]) -> list[float]:
        """Return the values below which these shares of all values lie."""
        total = int(self._counts.sum())
        # The middle of the first bin may lie below its least value.
        return [max(self._min, self._percentile(share, total)) for share in shares]

    def histogram(self, low: float, high: float, number: int) -> tuple[int, ...]:
        """Return the counts in equal bins from `low` to `high`; the outer bins also count values beyond."""
        used = np.flatnonzero(self._counts)
        middles = (used.astype(np.uint32) << np.uint32(_DROPPED)) | np.uint32(1 << (_DROPPED - 1))
        values = np.clip(from_ordered_bits(middles).astype(np.float64), low, high)
        counts, _ = np.histogram(values, number, (low, high), weights=self._counts[used])
        return tuple(int(n) for n in counts)

    def _percentile(self, share: float, total: int) -> float:
        """Return the middle of the bin that holds the value of this rank."""
        rank = math.ceil(share * total)
        place = int(np.searchsorted(np.cumsum(self._counts), rank))
        middle = (place << _DROPPED) | (1 << (_DROPPED - 1))
        return float(from_ordered_bits(np.array([middle], np.uint32))[0])
