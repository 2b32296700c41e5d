"""Seams of tiles with matrices: the pictures show the tiles as they are fused."""

from __future__ import annotations

import numpy as np

from teralign.report import TileOverlap, draw_seam, stage_set
from teralign.tiles import Tile, TileChannel, TileSet, TileSource

SHAPE = (6, 60, 60)


def texture(p: np.ndarray) -> np.ndarray:
    """A scene without noise at points (…, 3) in voxels."""
    return 1000 + 800 * np.sin(p[..., 1] / 2.1 + p[..., 0]) * np.cos(p[..., 2] / 2.7)


def turned(name: str, start: tuple[float, float, float], angle: float) -> tuple[Tile, np.ndarray]:
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    matrix = ((1.0, 0.0, 0.0), (0.0, float(c), float(-s)), (0.0, float(s), float(c)))
    local = np.stack(np.meshgrid(*[np.arange(float(n)) for n in SHAPE], indexing="ij"), axis=-1)
    tile = Tile(name, start, SHAPE, sources=(TileSource("x"),), stage=start, matrix=matrix)
    return tile, texture(local @ np.array(matrix).T + start).astype(np.float32)


def test_turned_tiles_fit_at_their_seam():
    (one, a), (other, b) = turned("a", (0.0, 0.0, 2.0), 2.0), turned("b", (0.0, 1.0, 40.0), -2.0)
    arrays = {"a": a, "b": b}
    tiles = TileSet((1.0, 1.0, 1.0), (TileChannel("0"),), (one, other))
    error = (0.1, 0.1, 0.1)
    overlap = TileOverlap("a", "b", "confirmed", 0.5, 0.9, 0.1, 7000, error, (0.0, 0.0, 0.0))
    seam = draw_seam(tiles, stage_set(tiles), overlap, "best", lambda tile, region: arrays[tile.name][region.slices])

    def apart(pictures):
        both = np.concatenate([p.reshape(-1, 3) for p in pictures]).astype(float)
        both = both[(both[:, 0] > 0) & (both[:, 1] > 0)]
        return np.mean(np.abs(both[:, 0] - both[:, 1]))

    assert apart(seam.after) < 25 and apart(seam.after) < apart(seam.before) / 2
