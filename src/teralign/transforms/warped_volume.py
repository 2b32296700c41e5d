"""The moving volume seen through transforms: warped onto the fixed grid where it is read, never written.

A `Resampler` warps any region, as `apply-transform` does. A `WarpedVolume` has one for each scale of the fixed
volume: the grid is that of the fixed level, and the voxels come from the moving level whose voxels are closest in
size. So a coarse scale is what `apply-transform` writes when it is given these two levels, not the means of the
finest scale: a chunk then needs a chunk's worth of moving voxels at every scale.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from teralign.caching import BoundedCache
from teralign.grids import Grid, Region, Triple, as_triple
from teralign.transforms.directions import along_axes
from teralign.transforms.kernels import Values
from teralign.transforms.stack import Stack
from teralign.transforms.warp import needed_region, warp
from teralign.volumes import (
    DisplaySettings,
    Volume,
    check_inside,
    compare_orientations,
    plan_levels,
    stored_levels,
)

CHUNK_SIDE = 64
"""The side in voxels of the cubes in which a `WarpedVolume` is made."""

CACHE_BYTES = 256 << 20
_COARSEST_READ = 64.0  # moving voxels read for one voxel of the grid: 4 along each axis


@dataclass(frozen=True)
class Needed:
    """The map for one region, in memory, and the voxels of the moving volume that the region depends on."""

    transform: Stack
    region: Region


@dataclass(frozen=True)
class Resampler:
    """Resamples `source` on the voxels of `grid`; picklable, and safe to use from several threads.

    `transform` takes points of `grid` to points of the source's grid, both along the volumes' own axes, in µm.
    `interpolation` is linear, nearest or cubic.
    """

    source: Volume
    transform: Stack
    grid: Grid
    interpolation: str = "linear"

    @classmethod
    def between(cls, fixed: Volume, moving: Volume, transform: Stack, interpolation: str = "linear") -> Resampler:
        """Return the resampler from `moving` to the grid of `fixed`; `transform` maps points of the world."""
        return cls(moving, along_axes(transform, fixed.direction, moving.direction), fixed.grid, interpolation)

    def needed(self, region: Region) -> Needed | None:
        """Return what a region of the grid depends on, None where it lies outside the source."""
        box = self.grid.crop(region)
        transform = self.transform.load(box.origin, box.to_physical(np.array(box.shape) - 1))
        needed = needed_region(transform, self.grid, region, self.source.grid, self.interpolation)
        return Needed(transform, needed) if needed.size else None

    def warp(
        self, region: Region, needed: Needed, channels: Sequence[int], timepoint: int, *, threads: int = 1
    ) -> Values | None:
        """Return the channels (c, z, y, x) of a region in the type of the source; None when all they need is 0."""
        source = self.source
        if all(source.is_blank(needed.region, channel=c, timepoint=timepoint) for c in channels):
            return None
        arrays = [source.read(needed.region, channel=c, timepoint=timepoint) for c in channels]
        if not any(a.any() for a in arrays):
            return None
        return warp(
            arrays,
            source.grid,
            grid=self.grid,
            region=region,
            transform=needed.transform,
            moving_region=needed.region,
            interpolation=self.interpolation,
            threads=threads,
        )


class WarpedVolume:
    """The moving volume on the grid of the fixed one, at each of its scales; read-only, (z, y, x).

    What is read has the bytes that `apply-transform` writes. It is made in chunks, the latest of which stay in memory
    within `cache_bytes`. Reads from several threads are safe. Picklable: the cache stays behind.
    """

    def __init__(
        self, levels: Sequence[Resampler], *, chunk_shape: Triple | None = None, cache_bytes: int = CACHE_BYTES
    ) -> None:
        """Take the resampler of each scale, finest first; chunks are cubes of 64 voxels by default."""
        self.levels = tuple(levels)
        self.chunk_shape: Triple = chunk_shape or (CHUNK_SIDE,) * 3
        self._chunks = BoundedCache[Values | None](cache_bytes, lambda made: 0 if made is None else made.nbytes)

    @classmethod
    def between(
        cls,
        fixed: Volume,
        moving: Volume,
        transform: Stack,
        *,
        interpolation: str = "linear",
        chunk_shape: Triple | None = None,
        cache_bytes: int = CACHE_BYTES,
    ) -> WarpedVolume:
        """Return `moving` seen through `transform` on the grid of `fixed`, with the scales that their files have.

        `transform` maps points of the world from fixed to moving, as `load_stack` returns it. A fixed volume without
        coarser scales gets the grids of the pyramid that `apply-transform` would write.
        """
        compare_orientations(fixed.uri, fixed.directions, moving.uri, moving.directions)
        first = Resampler.between(fixed, moving, transform, interpolation)
        sources = [moving, *stored_levels(moving).values()]
        levels = [first]
        for grid in _coarser_grids(fixed):
            source = min(sources, key=lambda volume: _distance(volume.grid, grid))
            if _voxel_ratio(grid, source.grid) <= _COARSEST_READ:
                levels.append(replace(first, source=source, grid=grid))
        return cls(levels, chunk_shape=chunk_shape, cache_bytes=cache_bytes)

    @property
    def moving(self) -> Volume:
        """The moving volume of the finest scale."""
        return self.levels[0].source

    @property
    def grid(self) -> Grid:
        """The grid of the finest scale; `levels[i].grid` is that of the others."""
        return self.levels[0].grid

    @property
    def grids(self) -> tuple[Grid, ...]:
        """The grids of all scales, finest first."""
        return tuple(level.grid for level in self.levels)

    @property
    def shape(self) -> Triple:
        """The number of voxels along (z, y, x) at the finest scale."""
        return self.grid.shape

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """The type of the voxels: that of the moving volume."""
        return self.moving.dtype

    @property
    def channels(self) -> int:
        """The number of channels."""
        return self.moving.channels

    @property
    def timepoints(self) -> int:
        """The number of timepoints."""
        return self.moving.timepoints

    @property
    def channel_names(self) -> tuple[str, ...]:
        """The name of each channel."""
        return self.moving.channel_names

    @property
    def display(self) -> tuple[DisplaySettings, ...]:
        """The initial display of each channel in viewers."""
        return self.moving.display

    def read(self, region: Region | None = None, *, channel: int = 0, timepoint: int = 0, level: int = 0) -> Values:
        """Return the (z, y, x) voxels of a region of a level (default: all of it), C order.

        Raises ValueError for a region outside the volume, DataError when voxels or transforms cannot be read.
        """
        if not (0 <= channel < self.channels and 0 <= timepoint < self.timepoints and 0 <= level < len(self.levels)):
            raise ValueError(f"there is no channel {channel} at timepoint {timepoint} in level {level}")
        grid = self.levels[level].grid
        region = region or grid.region
        check_inside(region, grid.shape, f"level {level} of the warped volume")
        whole = np.zeros(region.shape, self.dtype)
        for part in region.split(self.chunk_shape):
            chunk = self._chunk_around(part, grid)
            voxels = self._chunk(chunk, channel, timepoint, level)
            if voxels is not None:
                whole[part.relative_to(region).slices] = voxels[part.relative_to(chunk).slices]
        return whole

    def digest(self) -> str:
        """Return a fingerprint of the volumes, the grids and the transforms, that changes with any voxel."""
        parts = [(r.source.digest(), r.grid, r.transform.digest(), r.interpolation) for r in self.levels]
        return hashlib.blake2b(repr(parts).encode(), digest_size=16).hexdigest()

    def _chunk_around(self, part: Region, grid: Grid) -> Region:
        """Return the chunk that holds a region, cut to the grid."""
        start = as_triple(a // n * n for a, n in zip(part.start, self.chunk_shape, strict=True))
        return Region.whole(self.chunk_shape).shift(start).intersect(grid.region)

    def _chunk(self, chunk: Region, channel: int, timepoint: int, level: int) -> Values | None:
        """Return a chunk, None where it is 0."""

        def make() -> Values | None:
            resampler = self.levels[level]
            needed = resampler.needed(chunk)
            if needed is None:
                return None
            made = resampler.warp(chunk, needed, [channel], timepoint)
            return None if made is None else made[0]

        return self._chunks.get((level, timepoint, channel, *chunk.start), make)

    def __reduce__(self) -> tuple[Callable[..., WarpedVolume], tuple[object, ...]]:
        """Pickle without the cached chunks."""
        make = partial(WarpedVolume, chunk_shape=self.chunk_shape, cache_bytes=self._chunks.limit)
        return make, (self.levels,)


def _coarser_grids(fixed: Volume) -> list[Grid]:
    """Return the grids of the coarser scales: those stored, else those that a pyramid would have."""
    stored = stored_levels(fixed)
    if stored:
        return [stored[factors].grid for factors in sorted(stored, key=math.prod)]
    return list(plan_levels(fixed.grid, None)[0][1:])


def _distance(one: Grid, other: Grid) -> float:
    """Return how far the voxel sizes of two grids are apart: the sum over axes of the logarithms of their ratios."""
    return float(np.abs(np.log(np.array(one.spacing) / other.spacing)).sum())


def _voxel_ratio(coarse: Grid, fine: Grid) -> float:
    """Return how many voxels of `fine` have the size of one of `coarse`."""
    return math.prod(coarse.spacing) / math.prod(fine.spacing)
