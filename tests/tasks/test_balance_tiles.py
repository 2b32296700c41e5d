"""Tiles of different brightness, balanced from end to end."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tifffile
from scipy import ndimage
from scipy.spatial.transform import Rotation

from lit_planes import light, scenes
from teralign.cluster import Compute
from teralign.correction import FlatField, write_flatfield
from teralign.errors import DataError, InputError
from teralign.tasks.balance_tiles import _Balancing, balance, plan_balance
from teralign.tiles import Tile, TileChannel, TileSet, TileSource, read_tiles, write_tiles

SHAPE = (3, 48, 64)
ONE = Compute(workers=1, worker_cpus=1)
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
    found = balance(scan(tmp_path), tmp_path / "balanced.json", compute=ONE)
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
    balance(solved, tmp_path / "balanced.json", flatfield=tmp_path / "f.npz", compute=ONE)
    gains = np.array([tile.gain[0] for tile in read_tiles(tmp_path / "balanced.json").tiles])
    np.testing.assert_allclose(gains[:4] * GAINS, np.exp(np.log(GAINS).mean()), rtol=0.02)


def test_another_folder_is_refused_where_sources_are_relative(tmp_path):
    with pytest.raises(InputError, match="same folder"):
        balance(scan(tmp_path), tmp_path / "other" / "balanced.json")


def turned(folder, degrees):
    """Two tiles of one smooth scene, of which the second is turned by some degrees about its first voxel."""
    scene = 300 + 200 * ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(12, 140, 200)), (3, 8, 8)) * 60
    scene = scene.clip(50, None)
    linear = Rotation.from_rotvec(np.deg2rad([degrees, degrees / 4, 0])).as_matrix()  # about z and y, in (z, y, x)
    index = np.stack(np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij"))
    tiles = []
    for n, (place, matrix) in enumerate(
        ((np.array([4.0, 40, 30]), np.eye(3)), (np.array([4.2, 50.3, 60.4]), linear))
    ):
        seen = np.tensordot(matrix, index, 1) + place[:, None, None, None]
        stack = np.rint(GAINS[n] * ndimage.map_coordinates(scene, seen, order=1)).astype(np.uint16)
        tifffile.imwrite(folder / f"t{n}.tif", stack, photometric="minisblack", metadata={"axes": "ZYX"})
        rows = None if n == 0 else tuple(tuple(float(v) for v in row) for row in matrix)
        tiles.append(Tile(f"t{n}", tuple(place.tolist()), SHAPE, sources=(TileSource(f"t{n}.tif"),), matrix=rows))
    write_tiles(folder / "solved.json", TileSet((1.0, 1.0, 1.0), (TileChannel("488"),), tuple(tiles)))
    return folder / "solved.json"


def matched(tiles):
    """The gains of the tiles and what their overlaps disagree by, in this process."""
    work = _Balancing.of(tiles, tiles.parent / "balanced.json")
    found = work.balanced({block.name: work.matcher(block) for block in work.blocks})
    return found.balances[0].gain, found.balances[0].spread_after


def test_turned_tiles_are_compared_where_their_matrices_put_them(tmp_path, monkeypatch):
    solved = turned(tmp_path, 5)
    gains, spread = matched(solved)
    assert gains[0] / gains[1] == pytest.approx(GAINS[1] / GAINS[0], rel=0.03)  # gains are held to 1
    monkeypatch.setattr("teralign.tasks.balance_tiles._PART", 16)  # as large overlaps are read
    np.testing.assert_allclose(matched(solved)[0], gains, rtol=0.005)
    tiles = read_tiles(solved)
    write_tiles(solved, replace(tiles, tiles=tuple(replace(tile, matrix=None) for tile in tiles.tiles)))
    assert matched(solved)[1] > 3 * spread


def test_a_tile_that_cannot_be_read_is_named(tmp_path):
    solved = scan(tmp_path)
    (tmp_path / "t3.tif").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"t3\.tif"):
        balance(solved, tmp_path / "balanced.json", compute=ONE)
    found = balance(solved, tmp_path / "balanced.json", skip_unreadable=True, compute=ONE)
    assert found.unreadable == ("t3",)
    assert found.overlaps == (3,)
    assert found.tiles_without == 2


def test_the_plan_counts_overlaps_and_writes_nothing(tmp_path):
    plan = plan_balance(scan(tmp_path), tmp_path / "balanced.json", compute=ONE)
    assert plan.blocks == {"overlaps": 6}
    assert not (tmp_path / "balanced.json").exists()
