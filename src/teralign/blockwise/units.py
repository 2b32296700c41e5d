"""Write units: the pieces of an output, each with a single writer, so that no lock is needed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from teralign.blockwise.plan import block_name
from teralign.grids import Region, Triple, as_triple, product


@dataclass(frozen=True)
class WriteUnit:
    """Whole chunks (or shards) of an array; `core` are their voxels, cut to the array."""

    index: Triple
    core: Region

    @property
    def name(self) -> str:
        """The unit's name in files and messages."""
        return block_name(self.index)


@dataclass(frozen=True)
class WriteUnits:
    """All write units of an array of `shape` voxels (z, y, x), created on demand; `unit` is the shape of one unit."""

    shape: Triple
    unit: Triple

    def __len__(self) -> int:
        return prod(self._counts)

    def __contains__(self, unit: object) -> bool:
        return any(unit == own for own in self)

    def __iter__(self) -> Iterator[WriteUnit]:
        z, y, x = (range(n) for n in self._counts)
        indices = itertools.product(z, y, x)
        for index, region in zip(indices, Region.whole(self.shape).split(self.unit), strict=True):
            yield WriteUnit(index, region)

    def sample(self, count: int) -> list[WriteUnit]:
        """Return about `count` of the units, spread evenly over all; all units where there are fewer."""
        step = -(-len(self) // count)
        return [self._at(number) for number in range(step // 2, len(self), step)]

    @property
    def _counts(self) -> Triple:
        return as_triple(-(-n // u) for n, u in zip(self.shape, self.unit, strict=True))

    def _at(self, number: int) -> WriteUnit:
        _, rows, columns = self._counts
        index = (number // (rows * columns), number // columns % rows, number % columns)
        start = product(index, self.unit)
        stop = as_triple(min(a + u, n) for a, u, n in zip(start, self.unit, self.shape, strict=True))
        return WriteUnit(index, Region(start, stop))
