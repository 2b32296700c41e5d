"""A quilt: all tiles at their positions in one small picture, read plane by plane, whatever their number and size.

Of each tile as many planes are read, evenly spread over its depth, as a budget of voxels allows: all of them where
that is enough, and the middle one of a scan that is too large. Their maximum is averaged down to the pixels of the
picture. Within a layer, tiles fade into one another; of several layers the brightest is shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from teralign.errors import DataError
from teralign.grids import Floats, Grid, Region
from teralign.report.tile_contents import BentAt, ReadTile, straight
from teralign.tiles import Tile, TileSet

QUILT_SIDE = 1400
"""Pixels of the longer side of a quilt at most."""

_VOXELS = 2_000_000_000  # read for a quilt, about
_AT_ONCE = 16_000_000  # voxels of a tile in memory


@dataclass(frozen=True)
class Quilt:
    """The picture (rows, columns) of values, NaN where no tile is, with its pixel in µm.

    `planes` of the `depth` planes of a tile were read; `missing` names tiles that could not be.
    """

    values: NDArray[np.float32]
    pixel_um: float
    planes: int
    depth: int
    missing: Sequence[str]


def make_quilt(
    tiles: TileSet, read: ReadTile, bent: BentAt = straight, *, side: int = QUILT_SIDE, budget: int = _VOXELS
) -> Quilt:
    """Return the quilt of all present tiles where fusion puts their middle planes, as they are turned and `bent`.

    A tile that cannot be read is left out and named.
    """
    present = tiles.present
    low, high = _box(tiles, present)
    pixel = max(*tiles.spacing[1:], max(high - low) / side)
    rows, columns = (max(1, int(n)) for n in np.ceil((high - low) / pixel - 1e-6))
    first = low + pixel / 2
    grid = Grid((1, rows, columns), (1.0, pixel, pixel), (0.0, float(first[0]), float(first[1])))
    plane = sum(tile.shape[1] * tile.shape[2] for tile in present)
    depth = max(tile.shape[0] for tile in present)
    planes = int(np.clip(budget // plane, 1, depth))
    shown = np.full(grid.shape[1:], np.nan, np.float32)
    missing = []
    for layer in sorted({_layer(tile) for tile in present}):
        total, weights = np.zeros(grid.shape[1:], np.float32), np.zeros(grid.shape[1:], np.float32)
        for tile in (tile for tile in present if _layer(tile) == layer):
            try:
                flat, factors = _flattened(tiles, tile, read, planes, pixel)
            except DataError:
                missing.append(tile.name)
                continue
            _add(total, weights, grid, _Flat(tile, flat, np.array(tiles.spacing), factors), bent)
        with np.errstate(invalid="ignore"):
            shown = np.fmax(shown, np.where(weights > 0, total / weights, np.nan))
    return Quilt(shown, float(pixel), planes, depth, missing)


def _layer(tile: Tile) -> int:
    return tile.index[0] if tile.index else 0


def _box(tiles: TileSet, present: Sequence[Tile]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the outer corners (y, x) in µm of the box around all tiles."""
    half = np.asarray(tiles.spacing[1:]) / 2
    corners = np.concatenate([_corners(tile, np.array(tiles.spacing)) for tile in present])[:, 1:]
    return np.min(corners, axis=0) - half, np.max(corners, axis=0) + half


def _corners(tile: Tile, spacing: Floats) -> Floats:
    """Return the places (4, 3) µm of the corners of a tile's middle plane."""
    z, y, x = (np.array(tile.shape) - 1) * spacing
    return tile.place_of([(z / 2, *end) for end in ((0, 0), (0, x), (y, 0), (y, x))])


def _flattened(
    tiles: TileSet, tile: Tile, read: ReadTile, planes: int, pixel: float
) -> tuple[NDArray[np.float32], tuple[int, int]]:
    """Return the maximum over planes of a tile, in means over `factors` (y, x) of its voxels."""
    nz, ny, nx = tile.shape
    fy, fx = (max(1, min(n, int(pixel / size + 1e-6))) for n, size in zip((ny, nx), tiles.spacing[1:], strict=True))
    count = min(planes, nz)
    chosen = [(2 * k + 1) * nz // (2 * count) for k in range(count)]
    rows = max(fy, _AT_ONCE // nx // fy * fy)
    flat = np.full((ny // fy, nx // fx), -np.inf, np.float32)
    for top in range(0, ny // fy * fy, rows):
        stop = min(top + rows, ny // fy * fy)
        together = max(1, _AT_ONCE // ((stop - top) * nx))
        for start, end in _runs(chosen, together):
            voxels = read(tile, Region((start, top, 0), (end, stop, nx // fx * fx)))
            means = voxels.reshape(end - start, (stop - top) // fy, fy, nx // fx, fx).mean(axis=(2, 4))
            part = flat[top // fy : stop // fy]
            np.maximum(part, means.max(axis=0), out=part)
    return flat, (fy, fx)


def _runs(chosen: Sequence[int], longest: int) -> list[tuple[int, int]]:
    """Return (start, stop) of neighbouring planes that are read together."""
    runs: list[tuple[int, int]] = []
    for z in chosen:
        if runs and runs[-1][1] == z and z - runs[-1][0] < longest:
            runs[-1] = (runs[-1][0], z + 1)
        else:
            runs.append((z, z + 1))
    return runs


@dataclass(frozen=True)
class _Flat:
    """A tile as `values` (rows, columns), means over `factors` (y, x) of its voxels of `spacing` (3,) µm."""

    tile: Tile
    values: NDArray[np.float32]
    spacing: Floats
    factors: tuple[int, int]

    def places(self, points: Floats, bent: BentAt) -> tuple[Floats, Floats]:
        """Return where points (n, 2) µm lie (2, n) in rows and columns, without and with the displacement.

        They count as points of the tile's middle plane.
        """
        tile, middle = self.tile, (self.tile.shape[0] - 1) / 2 * self.spacing[0]
        linear = tile.linear
        flat = (points - tile.position[1:] - linear[1:, 0] * middle) @ np.linalg.inv(linear[1:, 1:]).T
        whole = np.column_stack([np.full(len(flat), middle), flat])
        moved = bent(tile, tile.place_of(whole))[:, 1:]
        steps = self.spacing[1:] * self.factors
        first = (np.array(self.factors) - 1) / 2 * self.spacing[1:]
        return ((flat - first) / steps).T, ((flat + moved - first) / steps).T


def _add(total: NDArray[np.float32], weights: NDArray[np.float32], grid: Grid, flat: _Flat, bent: BentAt) -> None:
    """Add a tile to the picture with weights that fall to its edges."""
    corners = _corners(flat.tile, flat.spacing) * (0, 1, 1)
    half = flat.spacing / 2
    region = grid.touching(corners.min(axis=0) - half, corners.max(axis=0) + half).intersect(grid.region)
    if region.size == 0:
        return
    lines = [grid.origin[a] + np.arange(region.start[a], region.stop[a]) * grid.spacing[a] for a in (1, 2)]
    points = np.stack(np.meshgrid(*lines, indexing="ij"), axis=-1)
    place, at = flat.places(points.reshape(-1, 2), bent)
    values = ndimage.map_coordinates(flat.values, at, order=1, mode="nearest").reshape(region.shape[1:])
    counts = np.array(flat.values.shape)[:, None]
    ends = np.minimum(place, counts - 1 - place)
    weight = np.clip((ends / counts).min(axis=0) + 0.5 / counts.max(), 1e-4, 1)
    weight[(ends < -1).any(axis=0)] = 0
    share = weight.reshape(region.shape[1:]).astype(np.float32)
    inside = region.slices[1:]
    total[inside] += values * share
    weights[inside] += share
