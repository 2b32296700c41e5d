"""Whether tiles that do not fit lie as if x and y were exchanged, or as if they were mirrored."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from teralign.grids import as_float_triple
from teralign.stitching.align_pairs import PairAligner, PairBlock, at_stage, pair_blocks
from teralign.tiles import TileSet
from teralign.tiles.layouts import AS_IS, Layout, other_layouts
from teralign.trust import Advice

_PAIRS = 8  # overlaps that are tried in each layout
_LEAST = 3
_VOXELS = 5e7  # of all overlaps that are tried in a layout: some seconds
_FITS, _TIMES = 0.6, 2.0  # the share of overlaps with evidence that convinces, and how many times that of the file


def advise_layout(tiles: TileSet, folder: Path, channel: int) -> Advice | None:
    """Return the advice to import the tiles in another layout, where their overlaps fit in it; None where in none.

    `folder` is that from which the URIs of the tiles count. A few overlaps are measured for each layout.
    """
    staged = at_stage(tiles)
    before, _ = _fitting(staged, folder, channel)
    best, share, told = AS_IS, before, 0
    for layout in other_layouts():
        found, tried = _fitting(_laid_out(staged, layout), folder, channel)
        if found > share:
            best, share, told = layout, found, tried
    if best == AS_IS or share < max(_FITS, _TIMES * before):
        return None
    return Advice(
        f"positions {best}",
        f"{round(share * told)} of {told} overlaps fit with the positions {best}: import the tiles again with "
        f"{best.options}, and align and solve them.",
        best.options,
    )


def _fitting(tiles: TileSet, folder: Path, channel: int) -> tuple[float, int]:
    """Return the share of overlaps with evidence, of those that show something, and how many these are."""
    aligner = PairAligner.of(tiles, folder, channel, None, skip_unreadable=True)
    pairs = [aligner(block).pair for block in _some(pair_blocks(tiles), aligner)]
    telling = [pair for pair in pairs if pair is not None and pair.reason not in ("no content", "unreadable")]
    if len(telling) < _LEAST:
        return 0.0, len(telling)
    return sum(pair.evidence for pair in telling) / len(telling), len(telling)


def _some(blocks: tuple[PairBlock, ...], aligner: PairAligner) -> list[PairBlock]:
    """Return a few blocks, spread over the scan, of the larger half: these are neighbours."""
    sizes = np.array([aligner.regions(block)[0].size for block in blocks])
    large = np.flatnonzero(sizes >= np.median(sizes)) if len(sizes) else sizes
    most = int(np.clip(_VOXELS / max(1.0, float(np.median(sizes))), _LEAST, _PAIRS)) if len(sizes) else 0
    chosen = large[np.unique(np.linspace(0, len(large) - 1, min(most, len(large))).round().astype(int))]
    return [blocks[number] for number in chosen]


def _laid_out(tiles: TileSet, layout: Layout) -> TileSet:
    places = layout.place(np.array([tile.position for tile in tiles.tiles]))
    moved = (
        replace(tile, position=as_float_triple(place), stage=as_float_triple(place))
        for tile, place in zip(tiles.tiles, places, strict=True)
    )
    return replace(tiles, tiles=tuple(moved), solution=None)
