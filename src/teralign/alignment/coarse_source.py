"""An image at a coarser sampling: a level of its container, or means computed when they are read."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from teralign.alignment.sources import ImageSource, extend
from teralign.grids import Grid, Region, Triple, as_triple, product
from teralign.registration import Image
from teralign.volumes import coarser_levels

log = logging.getLogger(__name__)

_READ = 128  # voxels along a side of a piece that is read at once: a usual chunk


@dataclass(frozen=True)
class CoarseSource:
    """Means over `factors` (z, y, x) voxels of `level`; `grid` is that of the whole volume's means. Picklable."""

    level: ImageSource
    factors: Triple
    grid: Grid

    @classmethod
    def of(cls, source: ImageSource, factors: Triple) -> CoarseSource:
        """Return the means of `source` over `factors` voxels, from the coarsest level of its container that fits."""
        grid = source.grid.downsample(factors)
        levels = {by: level for by, level in coarser_levels(source.volume).items() if _divides(by, factors)}
        if not levels:
            return cls(source, factors, grid)
        by = max(levels, key=math.prod)
        log.info("%s: level %s stands for its means", source.role, levels[by].uri)
        rest = as_triple(f // g for f, g in zip(factors, by, strict=True))
        return cls(replace(source, volume=levels[by]), rest, grid)

    @property
    def box(self) -> Region:
        """The means of the region of interest, by default all."""
        box = self.level.box
        start = as_triple(a // f for a, f in zip(box.start, self.factors, strict=True))
        stop = as_triple(-(-b // f) for b, f in zip(box.stop, self.factors, strict=True))
        return Region(start, stop).intersect(self.grid.region)

    @property
    def voxel_bytes(self) -> int:
        """Bytes read from disk for one mean, before compression."""
        return self.level.voxel_bytes * math.prod(self.factors)

    def digest(self) -> list[object]:
        """Return what identifies the voxels."""
        return [self.level.digest(), self.factors]

    def read(self, region: Region) -> Image:
        """Return the means (float32) of `region`, with a mask where voxels are masked out or not finite.

        Voxels are read piece by piece, so that memory is that of the means; those outside the box are not read.
        """
        inside = region.intersect(self.box)
        array = np.zeros(inside.shape, np.float32)
        mask = np.ones(inside.shape, bool)
        for part in self._pieces(inside):
            piece = self.level.read(self._voxels(part)).downsample(self.factors)
            place = part.relative_to(inside).slices
            array[place] = piece.array
            if piece.mask is not None:
                mask[place] = piece.mask
        return extend(Image(array, self.grid.crop(inside), None if mask.all() else mask), inside, region, self.grid)

    def masks_out(self, region: Region) -> bool:
        """Return whether the mask leaves no voxel of `region`."""
        return all(self.level.masks_out(self._voxels(part)) for part in self._pieces(region))

    def _pieces(self, region: Region) -> Iterator[Region]:
        return region.split([max(1, _READ // f) for f in self.factors])

    def _voxels(self, region: Region) -> Region:
        """Return the voxels of the level that a region of means covers."""
        start = product(region.start, self.factors)
        return Region(start, product(region.stop, self.factors))


def _divides(some: Triple, factors: Triple) -> bool:
    return all(f % s == 0 for s, f in zip(some, factors, strict=True))
