"""Consistency of a group of rounds: the maps around a triangle of three volumes must agree.

Three maps close a triangle: points of A go to C by way of B, and at once; their distance is an error that no image is
needed for. It bounds no single map: an error that two of them share cancels.

Maps from one fixed volume to many moving ones close no triangle. Then a pair of the moving volumes is compared as the
fixed one sees them, at a coarse scale: both are warped, and an affine registration of one to the other, from where
they lie, gives the map that the images ask for; the two maps promise that it is the identity.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from teralign.grids import Bools, Floats, Grid, Region, as_triple
from teralign.registration import Image
from teralign.registration.align import align
from teralign.registration.config import AffineConfig
from teralign.transforms import Stack, node_positions, warp
from teralign.trust import Verdict, assess

LATTICE_NODES = 32_768
RoundLink = tuple[str, str]
"""The names of the fixed and of the moving volume of a map."""
RoundTriple = tuple[str, str, str]


@dataclass(frozen=True)
class Closure:
    """The errors in µm on a lattice (z, y, x) over the first volume of a triangle, NaN where it does not close.

    `verdict` is that of the images, None where maps alone close the triangle.
    """

    grid: Grid
    errors: NDArray[np.float32]
    verdict: Verdict | None = None

    @property
    def known(self) -> NDArray[np.float32]:
        """The errors (n,) where the triangle closes."""
        return self.errors[np.isfinite(self.errors)]


def closed_triangles(links: Sequence[RoundLink]) -> list[RoundTriple]:
    """Return the triangles whose three sides are all linked, in either direction, each in its best order.

    Of the orders A, B, C that one has the fewest maps to invert for the ways A → B → C and A → C; of equals the first
    by name.
    """
    there = set(links)
    linked = {frozenset(link) for link in links}
    names = sorted({name for link in links for name in link})
    found = []
    for three in itertools.combinations(names, 3):
        if all(frozenset(side) in linked for side in itertools.combinations(three, 2)):
            found.append(min(itertools.permutations(three), key=lambda order: _inverses(order, there)))
    return [(a, b, c) for a, b, c in found]


def open_triangles(links: Sequence[RoundLink]) -> list[RoundTriple]:
    """Return the triangles (fixed, moving, moving) of two maps from one volume, whose ends no map links."""
    linked = {frozenset(link) for link in links}
    found = []
    for fixed in sorted({fixed for fixed, _ in links}):
        ends = sorted({moving for one, moving in links if one == fixed})
        found += [(fixed, a, b) for a, b in itertools.combinations(ends, 2) if frozenset((a, b)) not in linked]
    return found


def close_by_maps(
    order: RoundTriple, maps: Mapping[RoundLink, Stack], grids: Mapping[str, Grid], *, threads: int = 1
) -> Closure:
    """Return the distances in µm of points of A mapped to C by way of B from their images by the map from A to C.

    A point counts where all its images lie in their volumes, and the inverses that it needs exist.
    """
    a, b, c = order
    lattice = lattice_over(grids[a])
    points = node_positions(lattice)
    middle, good = _step(maps, a, b, points, threads)
    good &= _inside(grids[b], middle)
    around, second = _step(maps, b, c, middle, threads)
    straight, third = _step(maps, a, c, points, threads)
    good &= second & third & _inside(grids[c], around) & _inside(grids[c], straight)
    errors = np.linalg.norm(around - straight, axis=1).astype(np.float32)
    errors[~good] = np.nan
    return Closure(lattice, errors.reshape(lattice.shape))


def close_by_images(
    grid: Grid, moving: Sequence[tuple[NDArray[np.float32], Grid, Stack]], *, threads: int = 1
) -> Closure:
    """Return by how many µm two moving images disagree with their maps, on a lattice over the fixed volume.

    `moving` has two times an image (z, y, x), its grid, and the map from points of `grid` to its points.
    """
    seen = [_seen(array, own, transform, grid, threads) for array, own, transform in moving]
    both = seen[0][1] & seen[1][1]
    first, second = (Image(array, grid, both) for array, _ in seen)
    found = align(first, second, [AffineConfig()], initial_transform=Stack(), threads=threads)
    lattice = lattice_over(grid)
    points = node_positions(lattice)
    errors = np.linalg.norm(found.transform.map_points(points) - points, axis=1).astype(np.float32)
    nearest = np.clip(np.rint(grid.to_index(points)).astype(np.int64), 0, np.array(grid.shape) - 1)
    errors[~both[tuple(nearest.T)]] = np.nan
    return Closure(lattice, errors.reshape(lattice.shape), assess(first, second, Stack(), threads=threads).verdict)


def lattice_over(grid: Grid, *, nodes: int = LATTICE_NODES) -> Grid:
    """Return at most about `nodes` points spread evenly over a grid."""
    distance = (math.prod(grid.extent) / nodes) ** (1 / 3)
    return grid.nodes(as_triple(max(1, math.ceil(distance / size)) for size in grid.spacing))


def _inverses(order: Sequence[str], there: set[RoundLink]) -> int:
    a, b, c = order
    return sum(way not in there for way in ((a, b), (b, c), (a, c)))


def _step(
    maps: Mapping[RoundLink, Stack], source: str, target: str, points: Floats, threads: int
) -> tuple[Floats, Bools]:
    """Return the images (n, 3) of points, and a mask (n,) of those that there are: a map may have to be inverted."""
    forward = maps.get((source, target))
    if forward is not None:
        return forward.map_points(points, threads=threads), np.ones(len(points), bool)
    return maps[target, source].inverse_map_points(points, threads=threads)


def _inside(grid: Grid, points: Floats) -> Bools:
    index = grid.to_index(points)
    return np.asarray(((index >= -0.5) & (index <= np.array(grid.shape) - 0.5)).all(axis=1))


def _seen(
    array: NDArray[np.float32], own: Grid, transform: Stack, grid: Grid, threads: int
) -> tuple[NDArray[np.float32], Bools]:
    """Return an image on `grid` through a map, and where it has voxels."""
    values = np.empty(grid.shape, np.float32)
    for region in _tiles(grid):
        corners = grid.crop(region).corners()
        near = transform.load(corners[0], corners[-1])
        values[region.slices] = warp(
            array, own, grid=grid, region=region, transform=near, fill=np.nan, threads=threads
        )
    covered = np.isfinite(values)
    return np.where(covered, values, np.float32(0)), covered


def _tiles(grid: Grid) -> Iterator[Region]:
    return grid.region.split((64, 128, 128))
