"""Tiles with a matrix of their own, from pieces of their overlaps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from teralign.errors import InputError
from teralign.grids import Floats, as_float_triple
from teralign.stitching.models import PieceEdges, StageOfTiles, TileModel, fit_models, with_mean_of_one
from teralign.stitching.pairs import PairPiece, TilePair
from teralign.stitching.solve import Solved, components_of
from teralign.stitching.stage_errors import TileNumbers
from teralign.tiles import Tile, TileSet
from teralign.tiles.model import LinearPart

_KEPT = 0.5  # of its pieces: an overlap of which more are wrong is not used


def _stage_of(tile: Tile) -> Floats:
    """Return where the stage had a tile (z, y, x) µm."""
    return np.array(tile.position if tile.stage is None else tile.stage)


def same_places(fixed: Tile, moving: Tile, at: Floats, shift: Floats) -> tuple[Floats, Floats]:
    """Return the places `at` (…, 3) in the fixed tile and those that show the same in the moving one.

    Both are µm from the first voxels; `shift` (…, 3) µm is what the pair or its piece has.
    """
    return _same_places(_stage_of(fixed), _stage_of(moving), at, shift)


def _same_places(fixed: Floats, moving: Floats, at: Floats, shift: Floats) -> tuple[Floats, Floats]:
    """Return the same for tiles that the stage has at `fixed` and `moving` (…, 3) µm."""
    return at, at - (moving - fixed + shift)


def middle_of(fixed: Tile, moving: Tile, shift: Floats, spacing: Floats) -> Floats:
    """Return the middle (3,) of the overlap of two tiles, µm from the fixed tile's first voxel."""
    start = _stage_of(moving) - _stage_of(fixed) + shift
    size, other = ((np.array(tile.shape) - 1) * spacing for tile in (fixed, moving))
    middle: Floats = (np.maximum(0, start) + np.minimum(size, start + other)) / 2
    return middle


def residual_of(fixed: Tile, moving: Tile, pair: TilePair, spacing: Floats) -> Floats:
    """Return how far (3,) µm apart two solved tiles show what their overlap shows in its middle."""
    shift = np.array(pair.shift)
    here, there = same_places(fixed, moving, middle_of(fixed, moving, shift, spacing), shift)
    return moving.place_of(there) - fixed.place_of(here)


def place_models(
    tiles: TileSet, pairs: Sequence[TilePair], solved: Solved, model: TileModel
) -> tuple[Solved, list[LinearPart | None], Floats]:
    """Return what `solved` says with a map for each tile that pairs hold, its matrix, and positions (n, 3) µm.

    `pairs` are those with evidence, of which `solved` has the tiles moved only. Raises InputError where no pair has
    pieces.
    """
    if not any(pair.pieces for pair in pairs):
        raise InputError(f"the pairs have no pieces, which {model} tiles need; run align-tiles with --pieces 4.")
    spacing = np.array(tiles.spacing)
    stage = np.array([_stage_of(tile) for tile in tiles.tiles])
    middles = (np.array([tile.shape for tile in tiles.tiles]) - 1) / 2 * spacing  # from the first voxels
    edges, owner = _edges(tiles, pairs, middles)
    known = StageOfTiles(
        stage + middles,
        solved.predicted * spacing,
        solved.spread * spacing,
        np.array([tile.shape[0] for tile in tiles.tiles]),
        spacing,
    )
    fitted = fit_models(edges, known, model)
    kept = np.bincount(owner, fitted.used, len(pairs)) >= _KEPT * np.bincount(owner, minlength=len(pairs))
    ends = edges.tiles[np.searchsorted(owner, np.arange(len(pairs)))]
    components = components_of(ends[kept], len(stage))
    held = np.bincount(components)[components] > 1
    displacements, matrices = with_mean_of_one(fitted, known.middles, components, model)
    for number in np.unique(components[held]):  # a component stays where it was when its tiles were only moved
        own = components == number
        displacements[own] += np.median(solved.displacements[own] * spacing - displacements[own], axis=0)
    displacements[~held] = solved.displacements[~held] * spacing
    matrices[~held] = np.eye(3)
    positions = stage + displacements + middles - np.einsum("nab,nb->na", matrices, middles)
    counts = np.maximum(np.bincount(owner, fitted.used, len(pairs)), 1)
    parts = [np.bincount(owner, fitted.used * fitted.residuals[:, axis], len(pairs)) / counts for axis in range(3)]
    whole = [np.bincount(owner, fitted.residuals[:, axis], len(pairs)) / np.bincount(owner) for axis in range(3)]
    residuals = np.where(kept[:, None], np.stack(parts, axis=1), np.stack(whole, axis=1)) / spacing
    found = replace(
        solved, displacements=displacements / spacing, used=kept, residuals=residuals, components=components
    )
    return found, [_rows(matrix) if h else None for matrix, h in zip(matrices, held, strict=True)], positions


def _edges(tiles: TileSet, pairs: Sequence[TilePair], middles: Floats) -> tuple[PieceEdges, TileNumbers]:
    """Return the pieces of all pairs, or a pair's own shift where it has none, and the pair (k,) of each."""
    number = {tile.name: n for n, tile in enumerate(tiles.tiles)}
    stage = np.array([_stage_of(tile) for tile in tiles.tiles])
    spacing = np.array(tiles.spacing)
    pieces: list[PairPiece] = []
    owner: list[int] = []
    for k, pair in enumerate(pairs):
        own = pair.pieces
        if not own:
            fixed, moving = tiles.tiles[number[pair.fixed]], tiles.tiles[number[pair.moving]]
            middle = middle_of(fixed, moving, np.array(pair.shift), spacing)
            own = (PairPiece(as_float_triple(middle), pair.shift, pair.error),)
        pieces += own
        owner += [k] * len(own)
    of_pairs = np.array([(number[pair.fixed], number[pair.moving]) for pair in pairs])
    ends = of_pairs[owner]
    i, j = ends.T
    at, shifts = np.array([piece.at for piece in pieces]), np.array([piece.shift for piece in pieces])
    errors = np.array([piece.error for piece in pieces], dtype=np.float64)  # None becomes not a number
    here, there = _same_places(stage[i], stage[j], at, shifts)
    places = np.stack([here - middles[i], there - middles[j]], axis=1)
    edges = PieceEdges(ends, places, shifts, np.where(np.isnan(errors), np.inf, errors))
    return edges, np.array(owner)


def _rows(matrix: Floats) -> LinearPart:
    z, y, x = (as_float_triple(row) for row in matrix)
    return z, y, x
