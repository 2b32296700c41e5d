"""The quilt of tiles with matrices, and of bent ones: they lie where they are fused."""

from __future__ import annotations

import numpy as np
import pytest

from report.test_seams_of_turned_tiles import SHAPE, texture, turned
from teralign.report import make_quilt
from teralign.tiles import TileChannel, TileSet


def flat(points: np.ndarray) -> np.ndarray:
    """A scene that is the same in all planes."""
    return texture(points * (0, 1, 1))


def seen(name: str, start: tuple[float, float, float], angle: float, moved: tuple[float, float, float] = (0, 0, 0)):
    """A turned tile of the flat scene, whose content is displaced in its own frame."""
    tile, _ = turned(name, start, angle)
    local = np.stack(np.meshgrid(*[np.arange(float(n)) for n in SHAPE], indexing="ij"), axis=-1)
    return tile, flat(tile.place_of(local - moved)).astype(np.float32)


@pytest.mark.parametrize("angle", [0.0, 4.0])
def test_tiles_lie_where_they_are_fused(angle):
    moved = {"a": (0.0, 0.0, 0.0), "b": (0.0, 1.5, -2.0)}
    (one, a), (other, b) = seen("a", (0.0, 0.0, 4.0), angle), seen("b", (0.0, 1.0, 44.0), -angle, moved["b"])
    arrays = {"a": a, "b": b}
    tiles = TileSet((1.0, 1.0, 1.0), (TileChannel("0"),), (one, other))
    quilt = make_quilt(
        tiles,
        lambda tile, region: arrays[tile.name][region.slices],
        lambda tile, points: np.broadcast_to(moved[tile.name], points.shape),
    )
    corners = np.concatenate([t.place_of([(2.5, y, x) for y in (0, 59) for x in (0, 59)]) for t in tiles.tiles])
    low = corners.min(axis=0) - 0.5
    index = np.stack(np.indices(quilt.values.shape), axis=-1) + 0.5 + low[1:]
    truth = flat(np.concatenate([np.zeros((*index.shape[:2], 1)), index], axis=-1))
    inner = np.zeros(quilt.values.shape, bool)
    inner[8:52, 8:-8] = True
    known = np.isfinite(quilt.values)
    assert known[inner].all() and np.nanmedian(np.abs(quilt.values - truth)[inner & known]) < 40, "of 1600"
    assert np.isfinite(quilt.values).mean() < 1 or angle == 0, "turned tiles do not fill their box"
