"""Volumes with scales, read a region at a time: as they are stored, warped where they are read, or computed."""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from teralign.grids import Grid, Region
from teralign.transforms import FIELD_STRIDE, Affine, Stack, node_positions
from teralign.volumes import Volume, plan_levels, stored_levels


class ScaledVolume(Protocol):
    """A volume at several scales, finest first; (z, y, x). Safe to read from several threads."""

    @property
    def grids(self) -> tuple[Grid, ...]:
        """The grids of all scales, finest first."""
        ...

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """The type of the voxels."""
        ...

    def read(self, region: Region, *, channel: int = 0, timepoint: int = 0, level: int = 0) -> NDArray[Any]:
        """Return the (z, y, x) voxels of a region of a level. Raises DataError when they cannot be read."""
        ...


class StoredPyramid:
    """A volume with the coarser scales that its container holds."""

    def __init__(self, volume: Volume) -> None:
        """Look up the scales of a volume."""
        coarser = stored_levels(volume)
        self.volume = volume
        self._levels = (volume, *(coarser[factors] for factors in sorted(coarser, key=math.prod)))

    @property
    def grids(self) -> tuple[Grid, ...]:
        """The grids of all scales, finest first."""
        return tuple(level.grid for level in self._levels)

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """The type of the voxels."""
        return self.volume.dtype

    def read(self, region: Region, *, channel: int = 0, timepoint: int = 0, level: int = 0) -> NDArray[Any]:
        """Return the (z, y, x) voxels of a region of a level. Raises DataError when they cannot be read."""
        return self._levels[level].read(region, channel=channel, timepoint=timepoint)


class FieldMagnitude:
    """The distances in µm by which a map moves the points of a grid, beside its affines: the part of its fields.

    Of [A, u] it is |A(x + u(x)) − A(x)|, on every fourth voxel of the fixed grid, and at coarser scales.
    """

    dtype = np.dtype(np.float32)

    def __init__(self, transform: Stack, fixed: Grid) -> None:
        """Take the map between positions along the axes of the fixed and of the moving volume."""
        self._transform = transform
        affines = [part.affine for part in transform.transforms if part.affine is not None]
        self._affine = Stack(tuple(affines)).affine or Affine.identity()
        self.grids = plan_levels(fixed.nodes((FIELD_STRIDE,) * 3), None)[0]

    def read(self, region: Region, *, channel: int = 0, timepoint: int = 0, level: int = 0) -> NDArray[Any]:
        """Return the (z, y, x) lengths in µm at the nodes of a region. Raises DataError when a field is damaged."""
        nodes = node_positions(self.grids[level], region)
        moved = self._transform.map_points(nodes) - self._affine.map_points(nodes)
        lengths: NDArray[Any] = np.linalg.norm(moved, axis=1).astype(np.float32).reshape(region.shape)
        return lengths
