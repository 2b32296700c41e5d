"""The grids on which transforms are sampled: chosen by the user, or with the extent and spacing of the fields."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from teralign.alignment import Side
from teralign.errors import InputError
from teralign.grids import Floats, FloatTriple, Grid, Region, as_float_triple, as_triple
from teralign.transforms import FIELD_STRIDE, Affine, Stack, node_positions, world_affine
from teralign.volumes import Direction, Volume

_SLIVER = 1e-6  # of a node spacing: how far a box may reach beyond the last node


def open_fixed(fixed: str | Path | Side | None) -> Volume | None:
    """Open the fixed volume; None if it is not given. Raises InputError when it cannot be opened."""
    if fixed is None:
        return None
    return Side.of(fixed).open("fixed")


def chosen_grid(stack: Stack, fixed: Volume | None, spacing: FloatTriple | None) -> Grid:
    """Return nodes over the volume `fixed`, or if None over the fields of `stack`, `spacing` µm (z, y, x) apart.

    The default spacing is FIELD_STRIDE voxels, or that of the finest field. Nodes have straight axes in the world, so
    over an oblique volume they cover the box around it. Raises InputError when there are neither voxels nor a field.
    """
    if fixed is None:
        nodes = covered_grid(stack)
        return nodes if spacing is None else _respaced(nodes, spacing)
    return grid_over_volume(fixed.grid, fixed.direction, spacing)


def grid_over_volume(voxels: Grid, direction: Direction | None, spacing: FloatTriple | None) -> Grid:
    """Return nodes with straight axes over voxels of a direction, as `chosen_grid` does over a volume."""
    if direction is None:
        return voxels.nodes((FIELD_STRIDE,) * 3) if spacing is None else _respaced(voxels, spacing)
    low, high = world_affine(direction).bounds(voxels.origin, voxels.to_physical(np.array(voxels.shape) - 1))
    return _grid_over(low, high, spacing or [FIELD_STRIDE * size for size in voxels.spacing])


def covered_grid(stack: Stack) -> Grid:
    """Return a grid over the points that `stack` maps to its innermost field's grid, as fine as its finest field.

    It is the innermost field's own grid if nothing is applied before this field and no other field is finer. Raises
    InputError when there is no field.
    """
    places = [i for i, part in enumerate(stack.transforms) if part.grid is not None]
    if not places:
        raise InputError("affines alone have no grid; name a volume that has one by --fixed.")
    grids = stack.grids
    before = Stack(stack.transforms[places[-1] + 1 :]).affine or Affine.identity()
    nodes = grids[-1]
    low, high = before.inverse().bounds(nodes.origin, nodes.to_physical(np.array(nodes.shape) - 1))
    return _grid_over(low, high, np.min([grid.spacing for grid in grids], axis=0))


def reached_grid(stack: Stack) -> Grid:
    """Return a grid over the image of the `covered_grid` of `stack`, with the same spacing."""
    nodes = covered_grid(stack)
    moved = [stack.map_points(points) for points in _faces(nodes)]
    low = np.min([m.min(axis=0) for m in moved], axis=0)
    high = np.max([m.max(axis=0) for m in moved], axis=0)
    return _grid_over(low, high, nodes.spacing)


def _respaced(grid: Grid, spacing: FloatTriple) -> Grid:
    return _grid_over(grid.origin, grid.to_physical(np.array(grid.shape) - 1), spacing)


def _grid_over(low: ArrayLike, high: ArrayLike, spacing: ArrayLike) -> Grid:
    """Return nodes from `low` up to the first at or beyond `high` (µm)."""
    steps = np.ceil((np.asarray(high) - np.asarray(low)) / np.asarray(spacing) - _SLIVER)
    return Grid(as_triple(steps + 1), as_float_triple(np.asarray(spacing)), as_float_triple(np.asarray(low)))


def _faces(grid: Grid) -> Iterator[Floats]:
    """Give the nodes (n, 3) of each face of the grid, in µm: their images bound the image of the whole."""
    for axis, count in enumerate(grid.shape):
        for at in (0, count - 1):
            start, stop = [0, 0, 0], list(grid.shape)
            start[axis], stop[axis] = at, at + 1
            yield node_positions(grid, Region(as_triple(start), as_triple(stop)))
