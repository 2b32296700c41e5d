"""Pairs of tiles as blocks of a run: each is read, measured and recorded on its own."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from teralign.blockwise import BlockRecord, BlockState
from teralign.errors import DataError
from teralign.grids import FloatTriple, Region, Triple, as_float_triple, as_triple
from teralign.stitching.measure import UNREADABLE, WORKING_BYTES, MeasuredShift, crops, measure_shift
from teralign.stitching.pairs import PairPiece, TilePair
from teralign.stitching.pieces import MeasuredPiece, measure_pieces
from teralign.tiles import Tile, TileReader, TileSet

STAGE = "pairs"
"""The stage of the run."""

_SEARCH = 24  # voxels: stages err by less, and an overlap of less than that is left otherwise
_LEAST_OVERLAP = 500  # voxels: fewer say nothing
PAIRS_A_FOLDER = 1000
"""Pairs whose records share a folder."""


@dataclass(frozen=True)
class PairBlock:
    """A pair of tiles to align."""

    number: int
    fixed: Tile
    moving: Tile

    @property
    def name(self) -> str:
        """The name in files and messages."""
        return f"p{self.number // PAIRS_A_FOLDER:03d}_{self.number:06d}"


@dataclass(frozen=True, kw_only=True)
class PairRecord(BlockRecord):
    """The outcome of a pair, and the names of its tiles that cannot be read."""

    pair: TilePair | None = None
    unreadable: tuple[str, ...] = ()


def pair_blocks(tiles: TileSet) -> tuple[PairBlock, ...]:
    """Return all pairs of tiles that share enough voxels at the stage's positions, in the order of the tiles."""
    pairs = at_stage(tiles).overlapping(_LEAST_OVERLAP)
    return tuple(PairBlock(number, *pair) for number, pair in enumerate(pairs))


@dataclass(frozen=True)
class PairAligner:
    """Measures a pair of tiles in a channel, within `search` (z, y, x) voxels of the stage. Picklable.

    With `skip_unreadable`, a tile that cannot be read ends in the record; otherwise it raises DataError. Up to
    `pieces` along each axis of the overlap are measured too, where there are more than one.
    """

    reader: TileReader
    channel: int
    search: Triple
    skip_unreadable: bool = False
    pieces: int = 1

    @classmethod
    def of(
        cls,
        tiles: TileSet,
        folder: Path,
        channel: int,
        search: FloatTriple | None,
        *,
        skip_unreadable: bool = False,
        pieces: int = 1,
    ) -> PairAligner:
        """Return what aligns pairs of `tiles` in `folder`; `search` is in µm, None is the default.

        Its reader knows the voxel size but not all tiles, since it is sent to the workers with every task.
        """
        reader = TileReader(replace(tiles, tiles=tiles.tiles[:1], solution=None), folder)
        return cls(reader, channel, search_voxels(tiles, search), skip_unreadable, pieces)

    def __call__(self, block: PairBlock) -> PairRecord:
        """Return the record of a pair."""
        images, unreadable = self.images(block)
        if unreadable:
            lost = self._pair(block, MeasuredShift(reason=UNREADABLE))
            return PairRecord(state=BlockState.EMPTY, pair=lost, unreadable=unreadable)
        return PairRecord(pair=self.measure(block, images))

    def images(self, block: PairBlock) -> tuple[list[NDArray[np.generic]], tuple[str, ...]]:
        """Return the crops of the two tiles, and the names of tiles that cannot be read."""
        images, unreadable = [], []
        for tile, region in zip((block.fixed, block.moving), self.regions(block), strict=True):
            try:
                images.append(np.ascontiguousarray(self.reader.read(tile, self.channel, region)))
            except DataError:
                if not self.skip_unreadable:
                    raise
                unreadable.append(tile.name)
        return images, tuple(unreadable)

    def measure(self, block: PairBlock, images: list[NDArray[np.generic]]) -> TilePair:
        """Return what the crops say."""
        regions = self.regions(block)
        offset = as_float_triple(np.array(self._offset(block)) + regions[1].start - np.array(regions[0].start))
        same = self._same(block)
        found = measure_shift(images[0], images[1], offset, self.search, same_view=same)
        pair = self._pair(block, found)
        if self.pieces < 2 or not found.evidence:
            return pair
        pieces = measure_pieces(images[0], images[1], offset, self.search, found, self.pieces, same_view=same)
        return replace(pair, pieces=tuple(self._piece(piece, regions[0]) for piece in pieces))

    def regions(self, block: PairBlock) -> tuple[Region, Region]:
        """Return the voxels of the two tiles that are compared."""
        return crops(block.fixed.shape, block.moving.shape, self._offset(block), self.search)

    def working_bytes(self, block: PairBlock) -> int:
        """Return the memory that a pair takes, images of two bytes a voxel included."""
        return sum(region.size for region in self.regions(block)) * (2 + WORKING_BYTES)

    def _offset(self, block: PairBlock) -> FloatTriple:
        positions = zip(block.fixed.position, block.moving.position, self.reader.tiles.spacing, strict=True)
        return as_float_triple((b - a) / size for a, b, size in positions)

    def _same(self, block: PairBlock) -> bool:
        """Return whether both tiles may show the same tissue through the same pixels of the camera."""
        return all(abs(o) <= s for o, s in zip(self._offset(block)[1:], self.search[1:], strict=True))

    def _pair(self, block: PairBlock, found: MeasuredShift) -> TilePair:
        return TilePair(
            fixed=block.fixed.name,
            moving=block.moving.name,
            shift=self._um(found.shift),
            error=self._error(found.error),
            reliability=found.reliability,
            ncc=found.ncc,
            ncc_before=found.ncc_before,
            second=found.second,
            voxels=found.voxels,
            content=found.content,
            evidence=found.evidence,
            reason=found.reason,
        )

    def _piece(self, piece: MeasuredPiece, region: Region) -> PairPiece:
        at = self._um(as_float_triple(np.add(piece.at, region.start)))
        return PairPiece(at, self._um(piece.shift), self._error(piece.error))

    def _um(self, voxels: FloatTriple) -> FloatTriple:
        return as_float_triple(value * size for value, size in zip(voxels, self.reader.tiles.spacing, strict=True))

    def _error(self, voxels: FloatTriple) -> tuple[float | None, float | None, float | None]:
        z, y, x = (value if math.isfinite(value) else None for value in self._um(voxels))
        return z, y, x


def at_stage(tiles: TileSet) -> TileSet:
    """Return the tiles where the stage says that they are."""
    return replace(tiles, tiles=tuple(replace(t, position=t.stage or t.position) for t in tiles.tiles))


def search_voxels(tiles: TileSet, search: FloatTriple | None) -> Triple:
    """Return how far to search along (z, y, x), in voxels: `search` µm, or as many as the stage may be off.

    No further than half of the smallest tile, and nothing along an axis of one voxel.
    """
    shortest = [min(tile.shape[axis] for tile in tiles.tiles) for axis in range(3)]
    if search is None:
        return as_triple(min(_SEARCH, n // 2) for n in shortest)
    wanted = zip(search, tiles.spacing, shortest, strict=True)
    return as_triple(min(math.ceil(s / size), n // 2) for s, size, n in wanted)
