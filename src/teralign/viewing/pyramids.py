"""Volumes with scales, read a region at a time: as they are stored, warped where they are read, or computed."""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from teralign.grids import Grid, Region
from teralign.transforms import FIELD_STRIDE, Affine, DisplacementField, Stack, node_positions
from teralign.volumes import Volume, plan_levels, stored_levels

_FIELD_CUBE = 128
"""Nodes of the finest scale along a cube whose part of the fields is read at once, 25 MB a field; a chunk is less."""
_LEAST_CUBE = 8


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
        lengths = np.empty(region.shape, np.float32)
        for part in region.split((max(_LEAST_CUBE, _FIELD_CUBE >> level),) * 3):
            lengths[part.relative_to(region).slices] = self._lengths(self.grids[level], part)
        return lengths

    def _lengths(self, grid: Grid, region: Region) -> NDArray[np.float32]:
        """Return the (z, y, x) lengths at the nodes of a region whose part of the fields fits in memory."""
        box = grid.crop(region)
        transform = self._transform.load(box.origin, box.to_physical(np.array(box.shape) - 1))
        moved = self._moved_at_nodes(transform, grid, region)
        if moved is None:
            nodes = node_positions(grid, region)
            moved = transform.map_points(nodes)
            moved -= self._affine.map_points(nodes)
        lengths: NDArray[np.float32] = np.sqrt(np.einsum("ij,ij->i", moved, moved)).astype(np.float32)
        return lengths.reshape(region.shape)

    def _moved_at_nodes(self, transform: Stack, grid: Grid, region: Region) -> NDArray[Any] | None:
        """Return A u (n, 3) where the map is [A, u] and the nodes of u are those of `grid`, as local-align has it.

        Mapping each node takes several times as long. None for other maps and at coarser scales.
        """
        *outer, field = transform.loaded() or (None,)
        if not isinstance(field, DisplacementField) or any(not isinstance(part, Affine) for part in outer):
            return None
        if field.grid != grid or region.intersect(field.region) != region:
            return None
        values = field.values[region.relative_to(field.region).slices].reshape(-1, 3)
        return np.asarray(values @ self._affine.matrix[:3, :3].T.astype(np.float32))
