"""A round of the phantom as a microscope with a stage records it: overlapping tiles that lie where the stage is not.

The scan is a snake: rows along y, columns along x, every other row backwards. A tile is drawn at its true position, a
fraction of a voxel included, from the scene itself, so that two tiles share tissue but no noise and no interpolation.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from teralign.demo.camera import Round
from teralign.demo.render import View
from teralign.grids import Floats, FloatTriple, Grid, Region, Triple, as_float_triple

SHARED_SIDE = 0.25
"""The share of a tile's side that the stage lets two neighbours share."""
_FALLOFF = 0.3
_SIDE_STEP = 4  # voxels: sides are multiples, so that a step of three quarters is whole


@dataclass(frozen=True)
class StageFaults:
    """The errors of a stage in voxels, z, y, x.

    `jitter` is the deviation of what is random in each tile, cut at twice as much; `line` the largest shift of all
    tiles of a row, and of all of a column; `backlash` that of rows that are scanned backwards; `drift` that from the
    first to the last tile.
    """

    jitter: FloatTriple = (0.8, 1.6, 1.6)
    line: FloatTriple = (0.4, 1.5, 1.5)
    backlash: FloatTriple = (0.0, 0.5, 3.0)
    drift: FloatTriple = (2.0, 1.0, 1.0)


@dataclass(frozen=True)
class DemoTile:
    """A tile: its row and column, its number in time, its stage and true positions (z, y, x µm), and its gain."""

    row: int
    column: int
    order: int
    stage: FloatTriple
    true: FloatTriple
    gain: float


@dataclass(frozen=True)
class DemoScan:
    """A round as tiles of `shape` (z, y, x) voxels; `lamp` (y, x) is the brightest place of a tile, from 0 to 1.

    Half a tile from it, along one axis, there is exp(−`falloff`) of its light. A tile has as much light as the same
    part of the whole round.
    """

    view: View
    shape: Triple
    lamp: tuple[float, float]
    falloff: float
    tiles: tuple[DemoTile, ...]

    def draw(self, tile: DemoTile) -> NDArray[np.uint16]:
        """Return the voxels (z, y, x) of a tile."""
        grid = Grid(self.shape, self.view.grid.spacing, tile.true)
        own = {field.name: getattr(self.view.round, field.name) for field in fields(Round)}
        light = _TileLight(**own, field=self.view.grid, tile=grid, lamp=self.lamp, falloff=self.falloff)
        seen = View.of(
            self.view.scene, self.view.true_map, grid, replace(light, brightness=light.brightness * tile.gain)
        )
        return replace(seen, draw=1 + tile.order).render(grid.region)


@dataclass(frozen=True)
class _TileLight(Round):
    """The light on a tile: that of its round along z, and the lamp's, which is the same in every tile, along y, x."""

    field: Grid
    tile: Grid
    lamp: tuple[float, float]
    falloff: float

    def light(self, whole: Triple, region: Region) -> tuple[Floats, Floats, Floats]:
        """Return the light on the voxels of `region` of the tile: a factor along each of z, y, x."""
        z = self._fractions(region)[0]
        lamps = (
            np.exp(-self.falloff * (2 * ((np.arange(n) + 0.5) / n - middle)) ** 2)
            for n, middle in zip(whole[1:], self.lamp, strict=True)
        )
        y, x = (lamp[a:b] / lamp.mean() for a, b, lamp in zip(region.start[1:], region.stop[1:], lamps, strict=True))
        return self.brightness * np.exp(-self.bleaching * z), y, x

    def fog(self, whole: Triple, region: Region) -> tuple[Floats, Floats, Floats]:
        """Return the autofluorescence, which belongs to the tissue and not to the tile."""
        return self.fog_at(*self._fractions(region))

    def _fractions(self, region: Region) -> tuple[Floats, Floats, Floats]:
        """Return the positions of the voxels of `region` in the whole round, 0 to 1 along each axis."""
        first = self.field.to_index(np.asarray(self.tile.origin))
        z, y, x = (
            (corner + np.arange(a, b)) / n
            for corner, a, b, n in zip(first, region.start, region.stop, self.field.shape, strict=True)
        )
        return z, y, x


def tile_side(largest: Triple, count: tuple[int, int]) -> int:
    """Return the side in voxels of square tiles, `count` (rows, columns) of which cover volumes up to `largest`."""
    steps = [(n - (n - 1) * SHARED_SIDE) for n in count]
    needed = max(size / step for size, step in zip(largest[1:], steps, strict=True))
    return _SIDE_STEP * int(np.ceil(needed / _SIDE_STEP))


def make_scan(
    view: View, side: int, count: tuple[int, int], seed: int, faults: StageFaults = StageFaults()
) -> DemoScan:
    """Return a round as `count` (rows, columns) tiles of `side` voxels; the same seed gives the same scan.

    The stage's first tile lies at the origin of the round's grid.
    """
    rng = np.random.default_rng((seed, 100 + view.round.index))
    rows, columns = count
    step = side - round(side * SHARED_SIDE)
    error = {name: np.asarray(getattr(faults, name)) for name in ("jitter", "line", "backlash", "drift")}
    by_row, by_column = (rng.uniform(-1, 1, (n, 3)) * error["line"] for n in count)
    drift = rng.choice([-1.0, 1.0], 3) * error["drift"]
    tiles = []
    for order in range(rows * columns):
        row, place = divmod(order, columns)
        column = place if row % 2 == 0 else columns - 1 - place
        off = np.clip(rng.normal(size=3), -2, 2) * error["jitter"] + by_row[row] + by_column[column]
        off += (row % 2) * error["backlash"] + drift * order / max(1, rows * columns - 1)
        stage = np.array([0, row * step, column * step], np.float64)
        spacing, origin = np.asarray(view.grid.spacing), np.asarray(view.grid.origin)
        said, true = (as_float_triple(origin + spacing * at) for at in (stage, stage + off))
        tiles.append(DemoTile(row, column, order, said, true, gain=float(np.exp(0.05 * rng.normal()))))
    lamp = rng.uniform(0.4, 0.6, 2)
    shape = (view.grid.shape[0], side, side)
    return DemoScan(view, shape, (float(lamp[0]), float(lamp[1])), _FALLOFF, tuple(tiles))
