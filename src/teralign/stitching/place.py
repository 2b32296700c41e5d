"""The tiles of a scan at the positions that their pairs say."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from teralign.errors import InputError
from teralign.grids import Floats, as_float_triple
from teralign.stitching.measure import LEAST_CONTENT, UNREADABLE
from teralign.stitching.models import TileModel
from teralign.stitching.pairs import PairSet, TilePair
from teralign.stitching.place_models import place_models
from teralign.stitching.solve import ShiftEdges, Solved, solve_positions
from teralign.stitching.stage_errors import Regressors, TileNumbers
from teralign.tiles import Solution, TileChannel, TileSet
from teralign.tiles.model import Flag, LinearPart

log = logging.getLogger(__name__)

_ROW = 0.3  # of a tile: a smaller gap between positions does not separate two rows
_FAR = 6.0  # times the usual error of the stage
_LEAST_FAR = 1.0  # voxels


@dataclass(frozen=True)
class PlacedTiles:
    """The tiles with solved positions, and the pairs whose evidence was wrong: fixed, moving, and residual in µm."""

    tiles: TileSet
    removed: tuple[tuple[str, str, float], ...]


def place_tiles(tiles: TileSet, pairs: PairSet, model: TileModel = TileModel.TRANSLATION) -> PlacedTiles:
    """Return the tiles at the positions that agree best with the pairs that have evidence.

    Absent tiles are placed too. With another `model`, tiles that pairs hold have a matrix besides. Raises InputError
    when a pair names a tile or a channel that `tiles` lacks, and for a model that needs pieces of overlaps where
    there are none.
    """
    number = {tile.name: n for n, tile in enumerate(tiles.tiles)}
    missing = next((name for p in pairs.pairs for name in (p.fixed, p.moving) if name not in number), None)
    if missing is not None:
        raise InputError(f"the pairs name the tile {missing}, which the tiles lack; align these tiles again.")
    spacing = np.array(tiles.spacing)
    used = [pair for pair in pairs.pairs if pair.evidence]
    edges = _edges(used, number, spacing)
    stage = np.array([tile.stage or tile.position for tile in tiles.tiles]) / spacing
    solved = solve_positions(edges, Regressors.of(stage, _indices(tiles, stage), _order(tiles)))
    matrices: list[LinearPart | None] = [None] * len(tiles.tiles)
    positions = (stage + solved.displacements) * spacing
    if model is not TileModel.TRANSLATION:
        solved, matrices, positions = place_models(tiles, used, solved, model)
    lengths = np.linalg.norm(solved.residuals * spacing, axis=1)
    removed = [(used[n].fixed, used[n].moving, round(float(lengths[n]), 3)) for n in np.flatnonzero(~solved.used)]
    for fixed, moving, length in removed:
        log.warning("the shift between %s and %s is wrong by %.1f µm, and is not used", fixed, moving, length)
    flags = _flags(tiles, pairs, solved)
    placed = [
        replace(
            tile,
            position=as_float_triple(positions[n]),
            stage=tile.stage or tile.position,
            matrix=matrices[n],
            component=int(solved.components[n]),
            flags=flags[n],
        )
        for n, tile in enumerate(tiles.tiles)
    ]
    solution = _solution(solved, lengths, model)
    channels = _channels(tiles, pairs)
    return PlacedTiles(replace(tiles, channels=channels, tiles=tuple(placed), solution=solution), tuple(removed))


def _channels(tiles: TileSet, pairs: PairSet) -> tuple[TileChannel, ...]:
    """Return the channels with the shifts that were measured; the others keep theirs."""
    channels = list(tiles.channels)
    for found in pairs.channel_shifts:
        if found.channel >= len(channels) or pairs.channel >= len(channels):
            raise InputError(
                f"the pairs have a shift of channel {found.channel}, which the tiles lack; align them again."
            )
        shift = np.add(tiles.channels[pairs.channel].shift, found.shift)
        channels[found.channel] = replace(channels[found.channel], shift=as_float_triple(shift))
    return tuple(channels)


def _edges(pairs: Sequence[TilePair], number: dict[str, int], spacing: Floats) -> ShiftEdges:
    errors = np.array([[np.inf if e is None else e for e in pair.error] for pair in pairs]).reshape(-1, 3)
    return ShiftEdges(
        np.array([(number[pair.fixed], number[pair.moving]) for pair in pairs], dtype=np.int64).reshape(-1, 2),
        np.array([pair.shift for pair in pairs], dtype=np.float64).reshape(-1, 3) / spacing,
        errors / spacing,
    )


def _indices(tiles: TileSet, stage: Floats) -> TileNumbers:
    """Return the layer, row and column of each tile (n, 3): as imported, or by gaps between the stage's positions."""
    given = [tile.index for tile in tiles.tiles]
    if all(index is not None for index in given):
        return np.array(given, dtype=np.int64)
    numbers = np.zeros((len(given), 3), np.int64)
    for axis in range(3):
        gap = _ROW * min(tile.shape[axis] for tile in tiles.tiles)
        order = np.argsort(stage[:, axis], kind="stable")
        numbers[order, axis] = np.concatenate([[0], np.cumsum(np.diff(stage[order, axis]) > gap)])
    return numbers


def _order(tiles: TileSet) -> Floats | None:
    """Return the time of acquisition of each tile (n,), None where it is not known of all."""
    known = [tile.order for tile in tiles.tiles if tile.order is not None]
    return np.array(known, dtype=np.float64) if len(known) == len(tiles.tiles) else None


def _flags(tiles: TileSet, pairs: PairSet, solved: Solved) -> list[tuple[Flag, ...]]:
    """Return the flags of each tile: without evidence, empty in all overlaps, far from where a stage errs to."""
    content: dict[str, float] = {}
    for pair in (pair for pair in pairs.pairs if pair.reason != UNREADABLE):
        for name, value in zip((pair.fixed, pair.moving), pair.content, strict=True):
            content[name] = max(content.get(name, 0.0), value)
    rest = np.abs(solved.displacements - solved.predicted)
    far = np.any(rest > np.maximum(_LEAST_FAR, _FAR * solved.spread), axis=1)
    held, found = solved.held, []
    for n, tile in enumerate(tiles.tiles):
        marks: list[tuple[Flag, bool]] = [
            ("no_evidence", not held[n]),
            ("empty", tile.state == "present" and content.get(tile.name, LEAST_CONTENT) < LEAST_CONTENT),
            ("moved_far", bool(far[n])),
        ]
        found.append(tuple(flag for flag, applies in marks if applies))
    return found


def _solution(solved: Solved, lengths: Floats, model: TileModel) -> Solution:
    used = lengths[solved.used]
    return Solution(
        solver="robust least squares" + ("" if model is TileModel.TRANSLATION else f", {model} tiles"),
        tiles_solved=int(solved.held.sum()),
        tiles_without_evidence=int((~solved.held).sum()),
        edges_used=int(solved.used.sum()),
        edges_removed=int((~solved.used).sum()),
        components=len(np.unique(solved.components[solved.held])),
        residual_median_um=float(np.median(used)) if len(used) else None,
        residual_p95_um=float(np.percentile(used, 95)) if len(used) else None,
        verdict="unknown",  # until the overlaps are judged
    )
