"""Transforms on node grids: sampling, inversion, accuracy, and Jacobian determinants.

The determinant of the derivative of a map is its local change of volume: 1 is none, 0 or less is a fold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from teralign.grids import Floats, Grid, Region
from teralign.transforms import kernels
from teralign.transforms.field import DisplacementField
from teralign.transforms.stack import Stack
from teralign.transforms.threads import over_ranges

PointMap = Callable[[Floats], Floats]


@dataclass(frozen=True)
class Residual:
    """The distances in µm of points from their true positions."""

    mean: float
    p95: float
    maximum: float

    @classmethod
    def between(cls, found: Floats, expected: Floats) -> Residual:
        """Return the distances between points (n, 3), 0 for no points."""
        distances = np.linalg.norm(found - expected, axis=1) if len(found) else np.zeros(1)
        return cls(float(distances.mean()), float(np.percentile(distances, 95)), float(distances.max()))

    @classmethod
    def none(cls) -> Residual:
        """Return zero distances, for exact results."""
        return cls(0.0, 0.0, 0.0)


def as_field(transform: Stack, grid: Grid, *, region: Region | None = None, threads: int = 1) -> DisplacementField:
    """Sample `transform` at the nodes `region` of `grid` (default: all): the field is the same map at the nodes."""
    region = region or grid.region
    values = np.empty((*region.shape, 3), np.float32)
    for slab in _slabs(region):
        nodes = node_positions(grid, slab)
        moved = transform.map_points(nodes, threads=threads) - nodes
        values[slab.relative_to(region).slices] = moved.reshape(*slab.shape, 3)
    return DisplacementField(values, grid, region)


def _slabs(region: Region) -> Iterator[Region]:
    """Give slabs along z of about 2¹⁸ nodes, whose positions take little memory beside the displacements."""
    _, height, width = region.shape
    return region.split((max(1, 2**18 // max(1, height * width)), region.stop[1], region.stop[2]))


def node_positions(grid: Grid, region: Region | None = None) -> Floats:
    """Return the positions (n, 3) in µm of the nodes `region` of `grid` (default: all), x fastest."""
    region = region or grid.region
    index = np.indices(region.shape).reshape(3, -1).T + np.array(region.start)
    return grid.to_physical(index)


def round_trip(transform: Stack, inverse: Stack, grid: Grid, *, samples: int = 20_000, threads: int = 1) -> Residual:
    """Return the distances of random points between the nodes of `grid` from their images there and back."""
    points = _points_inside(grid, samples)
    back = transform.map_points(inverse.map_points(points, threads=threads), threads=threads)
    return Residual.between(back, points)


def deviation(found: Stack, expected: Stack, grid: Grid, *, samples: int = 20_000, threads: int = 1) -> Residual:
    """Return the distances between the images of random points between the nodes of `grid` under two maps."""
    points = _points_inside(grid, samples)
    return Residual.between(found.map_points(points, threads=threads), expected.map_points(points, threads=threads))


def inverse_field(
    transform: Stack, grid: Grid, *, region: Region | None = None, threads: int = 1
) -> tuple[DisplacementField, int]:
    """Return the inverse on the nodes `region` of `grid` (default: all), and the number of nodes without an inverse.

    Such a node takes the displacement of the nearest node of the region with an inverse, or, if there is none, of the
    nodes around the region. Raises ValueError when no node of the grid has an inverse.
    """
    region = region or grid.region
    wide = region
    values, good = _inverse_at(transform, grid, wide, threads)
    while not good.any():
        if wide == grid.region:
            raise ValueError("the transform has no inverse at any node")
        wide = wide.grow(wide.shape).intersect(grid.region)
        values, good = _inverse_at(transform, grid, wide, threads)
    inside = region.relative_to(wide).slices
    lost = int((~good[inside]).sum())
    if lost:
        from scipy import ndimage  # half a second to import, and seldom needed

        nearest = ndimage.distance_transform_edt(
            ~good, sampling=grid.spacing, return_distances=False, return_indices=True
        )
        values = values[tuple(nearest)]
    return DisplacementField(np.ascontiguousarray(values[inside]), grid, region), lost


def _inverse_at(
    transform: Stack, grid: Grid, region: Region, threads: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the inverse displacements (z, y, x, 3) on a region of nodes, and a mask (z, y, x) of those found."""
    values, good = np.empty((*region.shape, 3), np.float32), np.empty(region.shape, bool)
    for slab in _slabs(region):
        nodes, inside = node_positions(grid, slab), slab.relative_to(region).slices
        found, converged = transform.inverse_map_points(nodes, threads=threads)
        values[inside] = (found - nodes).reshape(*slab.shape, 3)
        good[inside] = converged.reshape(slab.shape)
    return values, good


def representation_error(point_map: PointMap, grid: Grid, *, samples: int = 50_000) -> Residual:
    """Return the distances of a field on the nodes of `grid` from the map that it samples, at random points."""
    nodes = node_positions(grid)
    values = (point_map(nodes) - nodes).astype(np.float32).reshape(*grid.shape, 3)
    points = _points_inside(grid, samples)
    return Residual.between(DisplacementField(values, grid).map_points(points), point_map(points))


def jacobian_determinants(field: DisplacementField, *, threads: int = 1) -> NDArray[np.float32]:
    """Return the Jacobian determinant of x + u(x) at each node (z, y, x) that is in memory.

    It is the minimum over the trilinear cells that meet at the node: 0 or less is a fold.
    """
    out = np.empty(field.region.shape, np.float32)
    spacing = np.array(field.grid.spacing)
    over_ranges(
        lambda first, last: kernels.jacobians(first, last, field.values, spacing, out),
        out.shape[0],
        threads=threads,
    )
    return out


def cell_determinants(field: DisplacementField, *, threads: int = 1) -> NDArray[np.float32]:
    """Return the smallest Jacobian determinant of x + u(x) at the corners of each cell between nodes (z, y, x).

    An axis with a single node has a single cell.
    """
    z, y, x = (max(n - 1, 1) for n in field.region.shape)
    out = np.empty((z, y, x), np.float32)
    spacing = np.array(field.grid.spacing)
    over_ranges(
        lambda first, last: kernels.cell_jacobians(first, last, field.values, spacing, out),
        out.shape[0],
        threads=threads,
    )
    return out


def volume_change(transform: Stack, grid: Grid, region: Region, *, threads: int = 1) -> NDArray[np.float32]:
    """Return the Jacobian determinant of `transform` at the nodes `region` (z, y, x) of `grid`.

    The values are those of `jacobian_determinants` for the field of `as_field`. Along an axis with a single node,
    cells are one spacing long.
    """
    limits = grid.region.grow([int(n == 1) for n in grid.shape])
    reach = region.grow((1, 1, 1)).intersect(limits)
    box = grid.crop(reach)
    nodes = node_positions(box)
    moved = transform.load(*nodes[[0, -1]]).map_points(nodes, threads=threads) - nodes
    moved -= moved[0]  # a shift changes no volume, and without it float32 keeps more of the differences
    values = moved.reshape(*box.shape, 3).astype(np.float32)
    determinants = jacobian_determinants(DisplacementField(values, box), threads=threads)
    return np.ascontiguousarray(determinants[region.relative_to(reach).slices])


@dataclass(frozen=True)
class Folding:
    """The minimum of the Jacobian determinant of a map, and the share of nodes where it is 0 or less."""

    min_jacobian: float
    share: float


def folding(field: DisplacementField, *, threads: int = 1) -> Folding:
    """Return the smallest Jacobian determinant of a field, and its folded share."""
    determinants = jacobian_determinants(field, threads=threads)
    return Folding(float(determinants.min()), float((determinants <= 0).mean()))


def _points_inside(grid: Grid, count: int) -> Floats:
    """Return random points (count, 3) between the outermost nodes of `grid`, the same in each call."""
    share = np.random.default_rng(0).uniform(0, 1, (count, 3))
    return grid.to_physical(share * (np.array(grid.shape) - 1))
