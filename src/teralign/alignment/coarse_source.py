"""One side of a registration at a coarser sampling: a level of its container, or means made when they are read."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from teralign.alignment.sources import ImageSource
from teralign.grids import Grid, Region, Triple, as_triple
from teralign.registration import Image
from teralign.volumes import coarser_levels

log = logging.getLogger(__name__)

_READ = 128  # voxels along a side of what is read at once: a usual chunk


@dataclass(frozen=True)
class CoarseSource:
    """The means over `factors` (z, y, x) voxels of `level`, on the grid of the whole volume's means. Picklable."""

    level: ImageSource
    factors: Triple
    grid: Grid

    @classmethod
    def of(cls, source: ImageSource, factors: Triple) -> CoarseSource:
        """The means of `source` over `factors` voxels, from the coarsest level that its container has for them."""
        grid = source.grid.downsample(factors)
        levels = {by: level for by, level in coarser_levels(source.volume).items() if _divides(by, factors)}
        if not levels:
            return cls(source, factors, grid)
        by = max(levels, key=math.prod)
        log.info("%s: level %s stands for its means", source.role, levels[by].uri)
        rest = as_triple(f // g for f, g in zip(factors, by, strict=True))
        return cls(replace(source, volume=levels[by]), rest, grid)

    @property
    def voxel_bytes(self) -> int:
        """What is read from the disk for one of the means."""
        return self.level.voxel_bytes * math.prod(self.factors)

    def digest(self) -> list[object]:
        """What tells these voxels from others."""
        return [self.level.digest(), self.factors]

    def read(self, region: Region) -> Image:
        """The means of `region`, float32, with a mask where some voxels do not count or are not finite.

        Voxels are read piece by piece, so that memory is that of the means.
        """
        array = np.empty(region.shape, np.float32)
        mask = np.ones(region.shape, bool)
        for part in self._pieces(region):
            piece = self.level.read_finite(self._voxels(part)).coarsen(self.factors)
            inside = part.relative_to(region).slices
            array[inside] = piece.array
            if piece.mask is not None:
                mask[inside] = piece.mask
        return Image(array, self.grid.crop(region), None if mask.all() else mask)

    def masks_out(self, region: Region) -> bool:
        """Whether the mask leaves nothing of `region`."""
        return all(self.level.masks_out(self._voxels(part)) for part in self._pieces(region))

    def _pieces(self, region: Region) -> Iterator[Region]:
        return region.split([max(1, _READ // f) for f in self.factors])

    def _voxels(self, region: Region) -> Region:
        """The voxels of the level whose means these are."""
        start = as_triple(a * f for a, f in zip(region.start, self.factors, strict=True))
        return Region(start, as_triple(b * f for b, f in zip(region.stop, self.factors, strict=True)))


def _divides(some: Triple, factors: Triple) -> bool:
    return all(f % s == 0 for s, f in zip(some, factors, strict=True))
