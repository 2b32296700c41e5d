"""Exact percentiles of any number of float32 values, in two passes: memory does not grow with the values.

The bits of float32 values, ordered, sort as the values do. The first pass counts their leading 20 bits; the second
counts the other 12 bits of the values that share the leading bits of a wanted rank.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_SIGN = np.uint32(1 << 31)
_LOW_BITS = 12
_LOW_MASK = np.uint32((1 << _LOW_BITS) - 1)
Counts = tuple[NDArray[np.uint32], NDArray[np.int64]]
"""Ordered bits, or their leading part, and how many values have them."""


def count_leading(values: NDArray[np.float32]) -> Counts:
    """Return the counts of the leading bits of some values, for `Percentiles.add_leading`."""
    found, counts = np.unique(ordered_bits(values.ravel()) >> np.uint32(_LOW_BITS), return_counts=True)
    return found, counts


def count_rest(values: NDArray[np.float32], near: NDArray[np.uint32]) -> Counts:
    """Return the counts of the ordered bits of the values that begin as `near` has it, for `Percentiles.add_rest`."""
    bits = ordered_bits(values.ravel())
    found, counts = np.unique(bits[np.isin(bits >> np.uint32(_LOW_BITS), near)], return_counts=True)
    return found, counts


class Percentiles:
    """Percentiles of values that are added part by part, in any order, twice; interpolated linearly between ranks."""

    def __init__(self, percents: Sequence[float]) -> None:
        self.percents = tuple(percents)
        self._leading = np.zeros(1 << (32 - _LOW_BITS), np.int64)
        self._low: dict[int, NDArray[np.int64]] = {}

    @property
    def total(self) -> int:
        """The number of values of the first pass."""
        return int(self._leading.sum())

    def add_leading(self, counts: Counts) -> None:
        """Add what `count_leading` found in a part: the first pass."""
        self._leading[counts[0]] += counts[1]

    def end_first_pass(self) -> None:
        """Choose the leading bits of the wanted ranks; the second pass counts the rest of the bits of those alone."""
        if self.total:
            self._low = {
                self._leading_of(rank): np.zeros(1 << _LOW_BITS, np.int64) for rank in self._ranks() if rank >= 0
            }

    @property
    def near(self) -> NDArray[np.uint32]:
        """The leading bits of the wanted ranks, for `count_rest`."""
        return np.array(list(self._low), np.uint32)

    def add_rest(self, counts: Counts) -> None:
        """Add what `count_rest` found in a part: the second pass."""
        for bits, count in zip(*(part.tolist() for part in counts), strict=True):
            self._low[bits >> _LOW_BITS][bits & int(_LOW_MASK)] += count

    def values(self) -> tuple[float, ...]:
        """Return the percentiles after both passes; NaN if there are no values."""
        if not self.total:
            return (math.nan,) * len(self.percents)
        found = []
        for percent in self.percents:
            at = percent / 100 * (self.total - 1)
            low, high = self._value(math.floor(at)), self._value(math.ceil(at))
            found.append(low + (high - low) * (at - math.floor(at)))
        return tuple(found)

    def _ranks(self) -> list[int]:
        places = [percent / 100 * (self.total - 1) for percent in self.percents]
        return [rank for at in places for rank in (math.floor(at), math.ceil(at))]

    def _leading_of(self, rank: int) -> int:
        return int(np.searchsorted(np.cumsum(self._leading), rank, side="right"))

    def _value(self, rank: int) -> float:
        leading = self._leading_of(rank)
        before = int(self._leading[:leading].sum())
        low = int(np.searchsorted(np.cumsum(self._low[leading]), rank - before, side="right"))
        return float(from_ordered_bits(np.array([leading << _LOW_BITS | low], np.uint32))[0])


def ordered_bits(values: NDArray[np.float32]) -> NDArray[np.uint32]:
    """Return the bits of the values as whole numbers that sort as the values do; both zeros are one."""
    bits = np.ascontiguousarray(values + np.float32(0)).view(np.uint32)
    return np.where(bits & _SIGN, ~bits, bits | _SIGN)


def from_ordered_bits(ordered: NDArray[np.uint32]) -> NDArray[np.float32]:
    """Return the values of numbers that `ordered_bits` returned."""
    return np.where(ordered & _SIGN, ordered & ~_SIGN, ~ordered).view(np.float32)
