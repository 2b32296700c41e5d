"""The single-plane tiles of a real brain section against Fiji's solution."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from real_data import REAL_DATA, needs_real_data
from teralign.grids import Region
from teralign.stitching.align_pairs import PairAligner, pair_blocks
from teralign.stitching.pairs import PairSet
from teralign.stitching.place import place_tiles
from teralign.tiles import TileReader, TileSet
from teralign.tiles.importing import import_scan

pytestmark = needs_real_data
FOLDER = REAL_DATA / "tiles"
MARGIN = 3  # pixels


def imported(name: str) -> TileSet:
    return import_scan(FOLDER / name, FOLDER, stack=FOLDER / "wsi_brain.tif", spacing=(1.0, 1.0, 1.0))


def positions(tiles: TileSet) -> np.ndarray:
    return np.array([tile.position for tile in sorted(tiles.tiles, key=lambda tile: tile.name)])


@pytest.fixture(scope="module")
def section():
    """The tiles as the stage, Fiji and we place them, with our pairs, and their band-passed images."""
    stage, fiji = imported("wsi_TileConfiguration.txt"), imported("wsi_TileConfiguration.registered.txt")
    aligner = PairAligner.of(stage, FOLDER, 0, None)
    found = tuple(record.pair for record in map(aligner, pair_blocks(stage)) if record.pair is not None)
    placed = place_tiles(stage, PairSet(0, (1.0, 1.0, 1.0), found)).tiles
    reader, images = TileReader(stage, FOLDER), {}
    for tile in stage.tiles:
        root = np.sqrt(reader.read(tile, 0, Region.whole(tile.shape))[0].astype(np.float32))
        images[tile.name] = ndimage.gaussian_filter(root, 1) - ndimage.gaussian_filter(root, 5)
    return stage, fiji, placed, found, images


def test_positions_are_those_of_fiji(section):
    _, fiji, placed, _, _ = section
    main = np.array([tile.component == 0 for tile in sorted(placed.tiles, key=lambda tile: tile.name)])
    apart = (positions(placed) - positions(fiji))[main]
    apart -= np.median(apart, axis=0)
    assert main.sum() >= 36 and np.median(np.linalg.norm(apart, axis=1)) < 1


def test_overlaps_correlate_better_than_those_of_fiji(section):
    _, fiji, placed, pairs, images = section
    values = []
    for pair in pairs:
        if pair.evidence:
            both = [_correlation(tiles, pair.fixed, pair.moving, images) for tiles in (fiji, placed)]
            values.append(both)
    theirs, ours = np.array(values).T
    assert np.nanmedian(ours) > np.nanmedian(theirs) and np.nanmean(ours) > np.nanmean(theirs)


def _correlation(tiles: TileSet, fixed: str, moving: str, images: dict[str, np.ndarray]) -> float:
    """Return the correlation of what two tiles show of one place; NaN where they hardly overlap."""
    offset = np.subtract(tiles.by_name(moving).position, tiles.by_name(fixed).position)[1:]
    n = images[fixed].shape[0]
    low = np.ceil(np.maximum(0, offset)).astype(int) + MARGIN
    high = np.floor(np.minimum(n - 1, n - 1 + offset)).astype(int) - MARGIN
    if (high - low).min() < 8:
        return np.nan
    there = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    whole = np.floor(offset).astype(int)
    block = images[moving][tuple(slice(a - w - 1, b - w + 1) for a, b, w in zip(low, high, whole, strict=True))]
    moved = ndimage.shift(block, offset - whole, order=1)[1:-1, 1:-1]
    return float(np.corrcoef(images[fixed][there].ravel(), moved.ravel())[0, 1])
