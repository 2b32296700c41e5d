"""Tiles of different brightness, balanced from end to end."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tifffile

from lit_planes import light, scenes
from teralign.correction import FlatField, write_flatfield
from teralign.errors import InputError
from teralign.tasks.balance_tiles import balance
from teralign.tiles import Tile, TileChannel, TileSet, TileSource, read_tiles, write_tiles

SHAPE = (3, 48, 64)
GAINS = np.array([1.3, 0.8, 1.0, 1.1])


def scan(folder, *, gain=None, dark=0.0, positions=((0, 0), (0, 40), (30, 0), (30, 40))):
    """Four overlapping tiles (y, x of their first voxels) of one scene, and a fifth that lies apart."""
    scene = scenes(3, shape=(110, 130)).mean(axis=0) * np.array([1, 1.1, 0.9])[:, None, None]
    rng = np.random.default_rng(0)
    tiles = []
    for n, (y, x) in enumerate((*positions, (500, 500))):
        part = scene[:, y : y + 48, x : x + 64] if y < 100 else scene[:, :48, :64]
        lit = part * (GAINS[n] if n < 4 else 1) * (1 if gain is None else gain) + dark
        stack = np.rint(rng.normal(lit, 3)).clip(0, 65535).astype(np.uint16)
        tifffile.imwrite(folder / f"t{n}.tif", stack, photometric="minisblack", metadata={"axes": "ZYX"})
        place = (0.0, 0.5 * y + 0.1, 0.5 * x - 0.1)  # µm, a fifth of a voxel off
        tiles.append(Tile(f"t{n}", place, SHAPE, sources=(TileSource(f"t{n}.tif"),)))
    write_tiles(folder / "solved.json", TileSet((2.0, 0.5, 0.5), (TileChannel("488"),), tuple(tiles)))
    return folder / "solved.json"


def test_gains_of_tiles_are_undone_and_written(tmp_path):
    found = balance(scan(tmp_path), tmp_path / "balanced.json")
    tiles = read_tiles(tmp_path / "balanced.json")
    gains = np.array([tile.gain[0] for tile in tiles.tiles])
    np.testing.assert_allclose(gains[:4] * GAINS, np.exp(np.log(GAINS).mean()), rtol=0.02)
    assert gains[4] == 1 and tiles.tiles[4].offset == (0.0,)
    assert (found.overlaps, found.tiles_without) == ((6,), 1)
    assert found.spread_after_percent[0] < 2 < found.spread_before_percent[0]
    without = replace(tiles, tiles=tuple(replace(tile, gain=(), offset=()) for tile in tiles.tiles))
    assert without == read_tiles(tmp_path / "solved.json")


def test_tiles_are_compared_in_even_light(tmp_path):
    gain = light((48, 64), strength=0.8)
    solved = scan(tmp_path, gain=gain, dark=150)
    write_flatfield(
        tmp_path / "f.npz",
        FlatField(gain[None, None], np.full((1, 48, 64), 150, np.float32), np.zeros(1), ("488",)),
    )
    balance(solved, tmp_path / "balanced.json", flatfield=tmp_path / "f.npz")
    gains = np.array([tile.gain[0] for tile in read_tiles(tmp_path / "balanced.json").tiles])
    np.testing.assert_allclose(gains[:4] * GAINS, np.exp(np.log(GAINS).mean()), rtol=0.02)


def test_another_folder_is_refused_where_sources_are_relative(tmp_path):
    with pytest.raises(InputError, match="same folder"):
        balance(scan(tmp_path), tmp_path / "other" / "balanced.json")
