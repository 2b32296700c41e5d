"""The pieces in which an output is written: one writer each, so that nobody waits for a lock."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from teralign.grids import Region, Triple, as_triple


@dataclass(frozen=True)
class WriteUnit:
    """Whole chunks (or shards) of an array: `core` is their voxels, cut to the array."""

    index: Triple
    core: Region

    @property
    def name(self) -> str:
        """The unit's name in files and messages."""
        return "_".join(f"{axis}{i:03d}" for axis, i in zip("zyx", self.index, strict=True))


@dataclass(frozen=True)
class WriteUnits:
    """All write units of an array of `shape` voxels, made when asked for; `unit` is the shape of one (z, y, x)."""

    shape: Triple
    unit: Triple

    def __len__(self) -> int:
        return prod(-(-n // u) for n, u in zip(self.shape, self.unit, strict=True))

    def __contains__(self, unit: object) -> bool:
        return any(unit == own for own in self)

    def __iter__(self) -> Iterator[WriteUnit]:
        for region in Region.whole(self.shape).split(self.unit):
            yield WriteUnit(as_triple(a // u for a, u in zip(region.start, self.unit, strict=True)), region)
