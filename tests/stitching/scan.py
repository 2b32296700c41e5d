"""A made-up scan of overlapping tiles with known positions, as TIFF stacks and a `tiles.json`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile

from stitching.scenes import seen, tissue
from teralign.tiles import Tile, TileChannel, TileSet, TileSource, write_tiles

TILE, STEP, SPACING = (12, 64, 64), 44, (2.0, 0.5, 0.5)


def make_scan(folder: Path, rows: int = 2, columns: int = 3, *, channels: int = 1) -> tuple[TileSet, np.ndarray]:
    """Write tiles with errors of up to 3 voxels; return them, and their true positions (n, 3) in voxels."""
    rng = np.random.default_rng(0)
    scene = tissue((30, rows * STEP + 50, columns * STEP + 50), seed=3)
    found, true = [], []
    for number, (r, c) in enumerate(np.ndindex(rows, columns)):
        stage = np.array((8.0, 10 + r * STEP, 10 + c * STEP))
        place = stage + rng.uniform(-3, 3, 3)
        sources = []
        for channel in range(channels):
            name = f"t{r}{c}_{channel}.tif"
            stack = seen(scene, tuple(place), TILE, 6.0, 10 * number + channel)
            tifffile.imwrite(folder / name, stack, photometric="minisblack", metadata={"axes": "ZYX"})
            sources.append(TileSource(name))
        position = tuple(float(v) for v in stage * SPACING)
        found.append(Tile(f"t{r}{c}", position, TILE, sources=tuple(sources), index=(0, r, c), stage=position))
        true.append(place)
    tiles = TileSet(SPACING, tuple(TileChannel(str(n)) for n in range(channels)), tuple(found))
    write_tiles(folder / "tiles.json", tiles)
    return tiles, np.array(true)


def errors(tiles: TileSet, true: np.ndarray) -> np.ndarray:
    """Return the lengths (n,) of the errors of positions in voxels, after their common shift is taken out."""
    d = np.array([tile.position for tile in tiles.tiles]) / SPACING - true
    return np.asarray(np.linalg.norm(d - np.median(d, axis=0), axis=1))
