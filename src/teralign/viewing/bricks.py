"""Volumes whose files are slow to read by small boxes, read in larger bricks that stay in memory for a while.

A TIFF is decoded by whole planes, an HDF5 by its chunks, a compressed NIfTI as a whole, each time again. Viewers ask
for one cube of 64 voxels after the other, and would have each plane decoded for every cube of its slab.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from teralign.caching import BoundedCache
from teralign.grids import Region, Triple, as_triple
from teralign.volumes import Pixels, Volume, Voxels

_SIDE = (16, 64, 64)  # planes, rows and columns of a brick at least
_CACHE_BYTES = 512 << 20  # the slab of 64 planes under a cube, for planes of 2000 × 2000 voxels of 2 bytes


def in_bricks(volume: Volume) -> Volume:
    """Return the same volume, its bricks kept in memory; chunked arrays stay as they are, whose chunks are kept."""
    if volume.stored is not None:
        return volume
    shape = volume.grid.shape
    sides = zip(_SIDE, volume.chunk_shape, shape, strict=True)
    brick = as_triple(min(n, -(-max(side, chunk) // chunk) * chunk) for side, chunk, n in sides)
    pixels = BrickedPixels(volume.description.pixels, shape, brick, volume.dtype)
    return replace(volume, description=replace(volume.description, pixels=pixels))


@dataclass(frozen=True)
class BrickedPixels:
    """Voxels read brick by brick: `pixels` in bricks of `brick` voxels (z, y, x), the latest kept in memory."""

    pixels: Pixels
    shape: Triple
    brick: Triple
    dtype: np.dtype[np.generic]
    kept: BoundedCache[Voxels] = field(
        default_factory=lambda: BoundedCache(_CACHE_BYTES, lambda voxels: voxels.nbytes), repr=False, compare=False
    )

    def read(self, region: Region, channel: int, timepoint: int) -> Voxels:
        """Read the (z, y, x) voxels of a region inside the volume. Raises DataError when they cannot be read."""
        whole = np.empty(region.shape, self.dtype)
        for part in region.split(self.brick):
            start = as_triple(a // n * n for a, n in zip(part.start, self.brick, strict=True))
            brick = Region.whole(self.brick).shift(start).intersect(Region.whole(self.shape))
            voxels = self._brick(brick, channel, timepoint)
            whole[part.relative_to(region).slices] = voxels[part.relative_to(brick).slices]
        return whole

    def _brick(self, brick: Region, channel: int, timepoint: int) -> Voxels:
        return self.kept.get((brick.start, channel, timepoint), lambda: self.pixels.read(brick, channel, timepoint))
