"""Images as the fixed grid sees them: aligned already, or warped by a transform while they are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from teralign.errors import InputError
from teralign.grids import Grid, Region, reverse_axes
from teralign.transforms import Stack, cast, needed_region, warp
from teralign.volumes import Volume

_SAME = 1e-3  # of a voxel: how far the grids of aligned images may lie apart


class OnGrid(Protocol):
    """An image on a grid, read by region."""

    def read(self, region: Region) -> NDArray[np.generic]:
        """Return the (z, y, x) voxels of a region in the image's own type, 0 where it has none."""
        ...

    def read_covered(self, region: Region) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return the (z, y, x) voxels of a region as float32, and where there are any; elsewhere they are 0."""
        ...


@dataclass(frozen=True)
class Still:
    """A channel of a volume, on its own grid."""

    volume: Volume
    channel: int = 0
    timepoint: int = 0

    def read(self, region: Region) -> NDArray[np.generic]:
        """Return the voxels of a region. Raises DataError when they cannot be read."""
        if self.volume.is_blank(region, channel=self.channel, timepoint=self.timepoint):
            return np.zeros(region.shape, self.volume.dtype)
        return self.volume.read(region, channel=self.channel, timepoint=self.timepoint)

    def read_covered(self, region: Region) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return the voxels of a region, and where they are finite. Raises DataError when they cannot be read."""
        values = self.read(region).astype(np.float32)
        covered = np.isfinite(values)
        return np.where(covered, values, np.float32(0)), covered


@dataclass(frozen=True)
class Warped:
    """A channel of a moving volume, seen through transforms on the fixed grid; nothing is written.

    `transform` takes points of `grid` to points of the volume's own grid.
    """

    volume: Volume
    transform: Stack
    grid: Grid
    channel: int = 0
    timepoint: int = 0

    def read(self, region: Region) -> NDArray[np.generic]:
        """Return the voxels of a region, each the nearest of the moving volume: labels keep their ids.

        Raises DataError when they cannot be read.
        """
        return self._warp(region, "nearest", 0.0)

    def read_covered(self, region: Region) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return the voxels of a region, interpolated linearly and rounded as in a volume of the moving type.

        Raises DataError when they cannot be read.
        """
        values = self._warp(region, "linear", np.nan)
        covered = np.isfinite(values)
        rounded = cast(np.where(covered, values, 0), self.volume.dtype) if covered.any() else np.zeros(region.shape)
        return rounded.astype(np.float32), covered

    def _warp(self, region: Region, interpolation: str, fill: float) -> NDArray[np.generic]:
        box = self.grid.crop(region)
        near = self.transform.load(box.origin, box.to_physical(np.array(box.shape) - 1))
        needed = needed_region(near, self.grid, region, self.volume.grid, interpolation)
        dtype = self.volume.dtype if interpolation == "nearest" else np.dtype(np.float32)
        if needed.size == 0:
            return np.full(region.shape, fill, dtype)
        moving = self.volume.read(needed, channel=self.channel, timepoint=self.timepoint)
        return warp(
            moving.astype(dtype, copy=False),
            self.volume.grid,
            grid=self.grid,
            region=region,
            transform=near,
            moving_region=needed,
            interpolation=interpolation,
            fill=fill,
        )


def check_same_grid(fixed: Volume, aligned: Volume) -> None:
    """Raise InputError unless a volume has the voxels of the fixed one, to a thousandth of their size."""
    same = fixed.grid.shape == aligned.grid.shape and np.allclose(
        fixed.grid.to_index(aligned.grid.corners()), fixed.grid.to_index(fixed.grid.corners()), rtol=0, atol=_SAME
    )
    if not same:
        raise InputError(
            f"{aligned.uri} ({_described(aligned.grid)}) is not on the grid of {fixed.uri} "
            f"({_described(fixed.grid)}); align it first, or give the transform by --transform."
        )


def _described(grid: Grid) -> str:
    def text(values: Sequence[float]) -> str:
        return ",".join(f"{value:g}" for value in reverse_axes(values))

    return f"{text(grid.shape)} voxels of {text(grid.spacing)} µm from {text(grid.origin)} µm, x,y,z"
