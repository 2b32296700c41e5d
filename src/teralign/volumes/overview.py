"""A volume of any size, averaged down until it fits in memory and on a page.

Of the scales beside the given one, the coarsest that is fine enough is read tile by tile and averaged to about
isotropic voxels. Where even this scale would take long to read, only the middle of the volume is read.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from teralign.errors import InputError
from teralign.grids import Box, Floats, Grid, Region, group_means, product
from teralign.volumes.uri import split_uri
from teralign.volumes.volume import Volume, open_volume

log = logging.getLogger(__name__)

_TILE = 64_000_000  # voxels in memory at a time


@dataclass(frozen=True)
class OverviewSize:
    """The limits of an overview, in voxels: those it has at most, about, and those that are read for it."""

    kept: int = 16_000_000
    read: int = 8_000_000_000


@dataclass(frozen=True)
class Overview:
    """Block means (z, y, x) float32 of a volume, or of its middle, and their grid."""

    array: NDArray[np.float32]
    grid: Grid

    @property
    def window(self) -> tuple[float, float]:
        """The values to show as black and white: the 30th percentile, background, and the 99.7th, without specks."""
        low, high = np.percentile(self.array[:: max(1, self.array.shape[0] // 64)], [30.0, 99.7])
        return float(low), float(max(high, low + 1e-6))


def read_overview(
    volume: Volume,
    *,
    channel: int = 0,
    timepoint: int = 0,
    size: OverviewSize = OverviewSize(),
    box: Box | None = None,
) -> Overview:
    """Return a volume, or the part of it in a box, within the limits of `size`.

    `volume` may be any scale of a pyramid. `box` has the low and the high corner (z, y, x) in µm; only voxels that it
    touches are read.
    """
    wanted = volume.grid if box is None else volume.grid.crop(volume.grid.touching(*box))
    target = (math.prod(wanted.extent) / size.kept) ** (1 / 3)
    level = _coarsest(volume, target)
    whole = level.grid.region if box is None else level.grid.touching(*box)
    region = _middle(whole, size.read)
    if region != whole:
        log.warning("%s: only the middle is shown, since it has no scale coarse enough to read whole", volume.uri)
    grid = level.grid.crop(region)
    factors = grid.factors_to(target)
    small = grid.downsample(factors)
    array = np.empty(small.shape, dtype=np.float32)
    side = max(1, int((_TILE / math.prod(factors)) ** (1 / 3)))
    for part in small.region.split((side, side, side)):
        source = Region(product(part.start, factors), product(part.stop, factors)).shift(region.start)
        array[part.slices] = group_means(level.read(source, channel=channel, timepoint=timepoint), factors)
    return Overview(array, small)


def _coarsest(volume: Volume, target: float) -> Volume:
    """Return the coarsest scale of the image whose voxels are not larger than `target` µm, or `volume` itself."""
    fine_enough = [v for v in _scales_beside(volume) if max(v.grid.spacing) <= target * 1.01]
    return min(fine_enough, key=lambda v: math.prod(v.grid.shape), default=volume)


def _scales_beside(volume: Volume) -> list[Volume]:
    """Return the volume and those of its container that show the same field of view at other scales."""
    found = [volume]
    if not volume.scales:
        return found
    container, _ = split_uri(volume.uri)
    for scale in volume.scales:
        try:
            other = open_volume(f"{container}/{scale}", expansion=volume.expansion)
        except InputError:
            continue
        if other.channels == volume.channels and _same_view(volume.grid, other.grid):
            found.append(other)
    return found


def _same_view(grid: Grid, other: Grid) -> bool:
    """Return whether the faces of both grids lie within a voxel of each other."""
    voxel = np.maximum(grid.spacing, other.spacing)
    return bool(all((np.abs(a - b) <= voxel).all() for a, b in zip(_faces(grid), _faces(other), strict=True)))


def _faces(grid: Grid) -> tuple[Floats, Floats]:
    return grid.to_physical([-0.5] * 3), grid.to_physical(np.array(grid.shape) - 0.5)


def _middle(whole: Region, limit: int) -> Region:
    """Return a whole region, or about `limit` voxels in its middle."""
    share = min(1.0, (limit / whole.size) ** (1 / 3))
    size = [max(1, int(n * share)) for n in whole.shape]
    z, y, x = ((n - s) // 2 for n, s in zip(whole.shape, size, strict=True))
    return Region((z, y, x), (z + size[0], y + size[1], x + size[2])).shift(whole.start)
