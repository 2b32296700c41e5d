"""Points mapped through a field on disk, which is read around them, tile by tile."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from teralign.grids import Floats, Grid, Region
from teralign.transforms.chain import FieldNodes
from teralign.transforms.points import inverse_map_points, map_points

_TILE = 96  # nodes along a side of what is read at once for scattered points
_FIRST_MARGIN = 8.0  # nodes around the points whose origins are looked for; doubled until it holds them


class NodesAround(Protocol):
    """A field on disk: reads the nodes that points of a box from `low` to `high` (µm) depend on."""

    @property
    def grid(self) -> Grid:
        """The grid of all nodes."""
        ...

    def load(self, low: ArrayLike, high: ArrayLike) -> FieldNodes:
        """Return the part of the field in memory."""
        ...


def map_in_tiles(field: NodesAround, points: ArrayLike, *, threads: int) -> Floats:
    """Return the images (n, 3) of the points (n, 3) in µm."""
    given = np.asarray(points, dtype=np.float64)
    mapped = np.empty_like(given)
    for rows in _tiles(field.grid, given):
        some = given[rows]
        mapped[rows] = map_points([field.load(some.min(axis=0), some.max(axis=0))], some, threads=threads)
    return mapped


def inverse_in_tiles(
    field: NodesAround, points: ArrayLike, guesses: Floats, *, threads: int
) -> tuple[Floats, NDArray[np.bool_]]:
    """Return the points whose images are `points` (n, 3), near `guesses`, and a mask (n,) of those found."""
    given = np.asarray(points, dtype=np.float64)
    found, converged = np.empty_like(given), np.zeros(len(given), dtype=bool)
    for rows in _tiles(field.grid, guesses):
        found[rows], converged[rows] = _inverse_in_tile(field, given[rows], guesses[rows], threads)
    return found, converged


def _inverse_in_tile(
    field: NodesAround, points: Floats, guesses: Floats, threads: int
) -> tuple[Floats, NDArray[np.bool_]]:
    """Return what `inverse_in_tiles` does, for guesses near one another.

    The box of nodes that is read around them doubles its margin until it holds every solution, or all nodes.
    """
    margin = _FIRST_MARGIN * max(field.grid.spacing)
    while True:
        low, high = guesses.min(axis=0) - margin, guesses.max(axis=0) + margin
        part = field.load(low, high)
        found, converged = inverse_map_points(part, points, guesses=guesses, threads=threads)
        inside = ((found >= low) & (found <= high)).all(axis=1)
        if (inside & converged).all() or part.region == field.grid.region:
            return found, converged
        margin *= 2


def _tiles(grid: Grid, points: Floats) -> Iterator[NDArray[np.intp]]:
    """Give the rows of the points in each tile of nodes that holds points."""
    if len(points) == 0:
        return
    nodes = np.clip(np.nan_to_num(grid.to_index(points)), 0, np.array(grid.shape) - 1)
    tiles = np.ravel_multi_index(
        tuple((nodes // _TILE).astype(np.int64).T), tuple(n // _TILE + 1 for n in grid.shape)
    )
    order = np.argsort(tiles, kind="stable")
    yield from np.split(order, np.flatnonzero(np.diff(tiles[order])) + 1)


def nodes_around(grid: Grid, low: ArrayLike, high: ArrayLike) -> Region:
    """Return the nodes around the points of a box (µm), and one more on each side; for a box outside, the nearest."""
    last = np.array(grid.shape) - 1
    below = np.floor(np.clip(np.nan_to_num(grid.to_index(low)), 0, last) + 1e-9).astype(np.int64)
    above = np.ceil(np.clip(np.nan_to_num(grid.to_index(high)), 0, last) - 1e-9).astype(np.int64)
    start, stop = np.maximum(below - 1, 0), np.minimum(above + 1, last) + 1
    return Region(tuple(start.tolist()), tuple(stop.tolist()))
