"""The tiles of one scan: positions and sizes, files, and what a solver found; values without files.

Axis order is (z, y, x), lengths are µm. The position of a tile is that of the centre of its first voxel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Final, Literal

import numpy as np
from numpy.typing import ArrayLike
from pydantic import ConfigDict
from scipy.spatial import cKDTree

from teralign.errors import InputError
from teralign.grids import Floats, FloatTriple, Grid, Triple

TILES_FORMAT: Final = 1
"""The format of the key `tiles`; it rises when a key changes its meaning or goes."""

TileState = Literal["present", "absent", "unreadable"]
Flag = Literal["no_evidence", "empty", "moved_far"]
LinearPart = tuple[FloatTriple, FloatTriple, FloatTriple]

_STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)
_ROUNDING = 1e-6  # voxels: the rounding of positions in µm

_MOST_LOST = 0.9
_MOST_STRETCHED = 1000.0

FARTHEST: Final = 1e9
"""The farthest that a tile may lie from zero, in µm: a kilometre."""


@dataclass(frozen=True)
class TileSource:
    """The voxels of a tile in one channel.

    `uri` is a volume or, with `planes`, a folder: relative to the folder of tiles.json, absolute, or an address.
    `channel` is the index in that volume. `planes` is a pattern of names of the files in the folder that are the
    planes, in the order of their numbers. `z_range` (start, stop) are the slices of the volume that are this tile.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    uri: str
    channel: int = 0
    planes: str = ""
    z_range: tuple[int, int] | None = None


@dataclass(frozen=True)
class TileChannel:
    """A channel; `shift` (z, y, x) µm is added to a tile's position to place this channel of it."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    name: str
    shift: FloatTriple = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Tile:
    """A tile: `position` (z, y, x) µm of its first voxel's centre, `shape` (z, y, x) voxels.

    `sources` has an entry for each channel, none for an absent tile. `index` is (layer, row, column), `order` the
    time of acquisition, `stage` the position as imported. `matrix` is the linear part of the tile's map about
    `position`: voxel i lies at position + matrix · (i · spacing). `component` numbers tiles that edges connect.
    `gain` and `offset` balance the tile, one a channel: value · gain + offset; empty for 1 and 0.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    name: str
    position: FloatTriple
    shape: Triple
    state: TileState = "present"
    sources: tuple[TileSource, ...] = ()
    index: Triple | None = None
    order: int | None = None
    stage: FloatTriple | None = None
    matrix: LinearPart | None = None
    component: int = 0
    flags: tuple[Flag, ...] = ()
    gain: tuple[float, ...] = ()
    offset: tuple[float, ...] = ()

    @property
    def linear(self) -> Floats:
        """The matrix (3, 3), 1 where the tile has none."""
        return np.eye(3) if self.matrix is None else np.array(self.matrix)

    def place_of(self, point: ArrayLike) -> Floats:
        """Return where a point (…, 3) µm from the centre of the tile's first voxel lies."""
        placed: Floats = np.asarray(point) @ self.linear.T + self.position
        return placed


@dataclass(frozen=True)
class Solution:
    """The account of how positions were solved; residuals are lengths in µm over the edges used, None without any."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    solver: str
    tiles_solved: int
    tiles_without_evidence: int
    edges_used: int
    edges_removed: int
    components: int
    residual_median_um: float | None
    residual_p95_um: float | None
    verdict: Literal["good", "doubtful", "bad", "unknown"]


@dataclass(frozen=True)
class TileSet:
    """All tiles of a scan; `spacing` (z, y, x) is the voxel size in µm of every tile.

    `origin_of` says what the tiles were imported from. `lit_loss` is the share of its light that a place loses each
    time that a tile is imaged over it, one a channel; empty for 0. Raises InputError for names that are not unique,
    shapes and sizes that are not positive, and tiles whose sources, gains or offsets are not one a channel.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    spacing: FloatTriple
    channels: tuple[TileChannel, ...]
    tiles: tuple[Tile, ...]
    origin_of: str = ""
    lit_loss: tuple[float, ...] = ()
    solution: Solution | None = None
    kind: Literal["tiles"] = "tiles"
    tiles_format: Literal[1] = TILES_FORMAT

    def __post_init__(self) -> None:
        if not all(1 / FARTHEST < size < FARTHEST for size in self.spacing):
            raise InputError(f"tiles need a voxel size of three positive numbers of µm, not {self.spacing}.")
        if not self.channels or not self.tiles:
            raise InputError("a set of tiles needs at least one tile and one channel.")
        if self.lit_loss and not (
            len(self.lit_loss) == len(self.channels) and all(0 <= loss < _MOST_LOST for loss in self.lit_loss)
        ):
            raise InputError(
                f"lit_loss needs a share of 0 to {_MOST_LOST} for each of {len(self.channels)} channels."
            )
        if len(self._names) < len(self.tiles):
            seen: set[str] = set()
            double = next(t.name for t in self.tiles if t.name in seen or seen.add(t.name))  # type: ignore[func-returns-value]
            raise InputError(f"two tiles are called {double}; names of tiles must differ.")
        for tile in self.tiles:
            self._check(tile)

    def _check(self, tile: Tile) -> None:
        if not all(abs(place) < FARTHEST for place in (*tile.position, *(tile.stage or ()))):
            raise InputError(f"the tile {tile.name} lies more than a kilometre off; positions are in µm.")
        if tile.matrix is not None and not all(abs(value) < _MOST_STRETCHED for row in tile.matrix for value in row):
            raise InputError(
                f"the tile {tile.name} has a matrix whose numbers are too large; a tile is hardly stretched."
            )
        if min(tile.shape) < 1:
            raise InputError(f"the tile {tile.name} has the shape {tile.shape} (z, y, x), which holds no voxel.")
        wanted = 0 if tile.state == "absent" else len(self.channels)
        if len(tile.sources) != wanted and not (tile.state == "unreadable" and not tile.sources):
            raise InputError(
                f"the tile {tile.name} is {tile.state} and has {len(tile.sources)} sources; it needs {wanted}."
            )
        for name, values in (("gain", tile.gain), ("offset", tile.offset)):
            if values and len(values) != len(self.channels):
                raise InputError(
                    f"the tile {tile.name} has {len(values)} values of {name} for {len(self.channels)} channels."
                )

    @cached_property
    def _names(self) -> Mapping[str, Tile]:
        return {tile.name: tile for tile in self.tiles}

    def by_name(self, name: str) -> Tile:
        """Return the tile of this name. Raises InputError where there is none."""
        if name not in self._names:
            raise InputError(f"there is no tile {name} among the {len(self.tiles)} tiles.")
        return self._names[name]

    def grid(self, tile: Tile) -> Grid:
        """Return the grid of a tile's voxels at its position; its `matrix` and shifts of channels are left out."""
        return Grid(tile.shape, self.spacing, tile.position)

    @property
    def present(self) -> tuple[Tile, ...]:
        """The tiles whose voxels are there."""
        return tuple(tile for tile in self.tiles if tile.state == "present")

    def overlapping(self, min_voxels: int = 1) -> list[tuple[Tile, Tile]]:
        """Return the pairs of present tiles whose boxes share at least `min_voxels` voxels, in the order of `tiles`.

        Boxes that reach into one another by less than a voxel along an axis share none. Takes O(n log n) time.
        """
        tiles = self.present
        if len(tiles) < 2:
            return []
        spacing = np.array(self.spacing)
        start: Floats = np.array([tile.position for tile in tiles]) / spacing
        shape: Floats = np.array([tile.shape for tile in tiles], dtype=np.float64)
        tree = cKDTree((start + shape / 2) / shape.max(axis=0))  # in units of the largest tile
        near = tree.query_pairs(1.0, p=np.inf, output_type="ndarray")
        a, b = np.sort(near, axis=1).T
        shared = np.minimum(start[a] + shape[a], start[b] + shape[b]) - np.maximum(start[a], start[b])
        voxels = np.prod(np.maximum(np.floor(shared + _ROUNDING), 0), axis=1)
        chosen = voxels >= max(1, min_voxels)
        return [(tiles[i], tiles[j]) for i, j in sorted(zip(a[chosen].tolist(), b[chosen].tolist(), strict=True))]
