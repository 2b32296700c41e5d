"""`solve-tiles`: the positions of all tiles from the shifts of their pairs."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path

from teralign.stitching.models import TileModel
from teralign.stitching.pairs import read_pairs
from teralign.stitching.place import place_tiles
from teralign.tasks.inputs import refuse_existing
from teralign.tasks.tile_verdict import judge, overlaps_of
from teralign.tiles import Solution, read_tiles, write_tiles

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SolvedTiles:
    """The file written, its solution, the wrong pairs (fixed, moving, residual µm), and the flagged tiles by flag."""

    output: str
    solution: Solution
    removed: tuple[tuple[str, str, float], ...]
    flagged: dict[str, tuple[str, ...]]


def solve_tiles(
    tiles: str | Path,
    pairs: str | Path,
    output: str | Path,
    *,
    tile_model: str = "translation",
    overwrite: bool = False,
) -> SolvedTiles:
    """Write to `output` the tiles at the positions that agree best with the pairs.

    `tile_model` is translation, or rigid or affine, for which the pairs need pieces. Raises InputError for files that
    are no tiles and pairs of one scan, pairs without pieces, and an output that exists.
    """
    refuse_existing(Path(output), overwrite=overwrite, what="output")
    measured = read_pairs(pairs)
    placed = place_tiles(read_tiles(tiles), measured, TileModel(tile_model))
    assert placed.tiles.solution is not None
    overlaps = overlaps_of(placed.tiles, placed.tiles.solution, measured.pairs, str(pairs))
    solution = replace(placed.tiles.solution, verdict=judge(placed.tiles, overlaps).assessment.verdict.value)
    write_tiles(output, replace(placed.tiles, solution=solution))
    flagged: dict[str, tuple[str, ...]] = {}
    for tile in placed.tiles.tiles:
        for flag in tile.flags:
            flagged[flag] = (*flagged.get(flag, ()), tile.name)
    log.info("%s: the stitching is %s", output, solution.verdict)
    return SolvedTiles(str(output), solution, placed.removed, flagged)
