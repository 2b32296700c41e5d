"""One side of a registration at a coarser sampling: means over groups of voxels, made when they are read."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from teralign.grids import Grid, Region, Triple, as_triple
from teralign.registration import Image
from teralign.tasks.sources import Source

_READ = 128  # voxels along a side of what is read at once: a usual chunk


@dataclass(frozen=True)
class CoarseSource:
    """The means of `source` over `factors` (z, y, x) voxels. Picklable."""

    source: Source
    factors: Triple

    @cached_property
    def grid(self) -> Grid:
        """The grid of the means of the whole volume."""
        return self.source.grid.downsample(self.factors)

    def read(self, region: Region) -> Image:
        """The means of `region`, float32, with a mask where some voxels do not count or are not finite.

        Voxels are read piece by piece, so that memory is that of the means.
        """
        array = np.empty(region.shape, np.float32)
        mask = np.ones(region.shape, bool)
        for part in region.split([max(1, _READ // f) for f in self.factors]):
            piece = self.source.read_finite(self._voxels(part)).coarsen(self.factors)
            inside = part.relative_to(region).slices
            array[inside] = piece.array
            if piece.mask is not None:
                mask[inside] = piece.mask
        return Image(array, self.grid.crop(region), None if mask.all() else mask)

    def _voxels(self, region: Region) -> Region:
        """The voxels of the source whose means these are."""
        start = as_triple(a * f for a, f in zip(region.start, self.factors, strict=True))
        return Region(start, as_triple(b * f for b, f in zip(region.stop, self.factors, strict=True)))
