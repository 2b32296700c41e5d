"""`pairs.json`: the shift of each pair of overlapping tiles, and its evidence."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final, Literal

from pydantic import ConfigDict

from teralign.errors import InputError
from teralign.grids import FloatTriple
from teralign.results import write_json
from teralign.stitching.measure import Reason
from teralign.tiles import TileSet
from teralign.tiles.documents import read_document
from teralign.tiles.model import FARTHEST

PAIRS_FORMAT: Final = 1
"""The format of the key `pairs`; it rises when a key changes its meaning or goes."""


@dataclass(frozen=True)
class PairPiece:
    """A piece of an overlap: its place `at` (z, y, x) µm from the first voxel of the fixed tile, and its `shift`.

    The shift and its `error` are as those of the pair.
    """

    __pydantic_config__: ClassVar[ConfigDict] = TileSet.__pydantic_config__

    at: FloatTriple
    shift: FloatTriple
    error: tuple[float | None, float | None, float | None]


@dataclass(frozen=True)
class TilePair:
    """Two overlapping tiles, by name, and the `shift` (z, y, x) µm between them.

    The shift is what is added to the moving minus the fixed position as the stage has them; `error` is its standard
    error in µm, null along an axis that is not measured, and `reliability` that in 0 … 1. `ncc` is the correlation of
    the band-passed overlap of `voxels` voxels, `ncc_before` that at the stage's position, `second` that of the next
    distinct peak. `content` is the structure of either tile there against its noise: 1 is noise alone. Without
    `evidence`, `reason` says why. `pieces` of the overlap have shifts of their own, where these were asked for.
    """

    __pydantic_config__: ClassVar[ConfigDict] = TileSet.__pydantic_config__

    fixed: str
    moving: str
    shift: FloatTriple
    error: tuple[float | None, float | None, float | None]
    reliability: FloatTriple
    ncc: float
    ncc_before: float
    second: float
    voxels: int
    content: tuple[float, float]
    evidence: bool
    reason: Reason = ""
    pieces: tuple[PairPiece, ...] = ()


@dataclass(frozen=True)
class ChannelShift:
    """The `shift` (z, y, x) µm that is added to positions to place `channel`, as the middle of so many `tiles` says.

    `error` is its standard error in µm, null along an axis that no tile measures.
    """

    __pydantic_config__: ClassVar[ConfigDict] = TileSet.__pydantic_config__

    channel: int
    shift: FloatTriple
    error: tuple[float | None, float | None, float | None]
    tiles: int


@dataclass(frozen=True)
class PairSet:
    """All pairs of a scan, measured in `channel` within `search` (z, y, x) µm of the stage's positions.

    `channel_shifts` are those of other channels against that one, where they were asked for and found.
    """

    __pydantic_config__: ClassVar[ConfigDict] = TileSet.__pydantic_config__

    channel: int
    search: FloatTriple
    pairs: tuple[TilePair, ...]
    channel_shifts: tuple[ChannelShift, ...] = ()
    kind: Literal["pairs"] = "pairs"
    pairs_format: Literal[1] = PAIRS_FORMAT

    def __post_init__(self) -> None:
        """Raise InputError for a shift that no two tiles can have."""
        for pair in self.pairs:
            if not all(abs(length) < FARTHEST for length in pair.shift):
                raise InputError(f"the shift between {pair.fixed} and {pair.moving} is more than a kilometre.")
            if any(error is not None and not 0 < error < FARTHEST for error in pair.error):
                raise InputError(f"the shift between {pair.fixed} and {pair.moving} has an error that is none.")


def read_pairs(path: str | Path) -> PairSet:
    """Return the pairs of a `pairs.json`. Raises InputError, in one sentence, for a file that is none."""
    return read_document(Path(path), PairSet, "pairs")


def write_pairs(path: str | Path, pairs: PairSet) -> None:
    """Write pairs as a document, whole or not at all."""
    write_json(Path(path), pairs)
