"""Tiles in uneven light: estimate-flatfield and apply-flatfield from end to end."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import tifffile

from lit_planes import SHAPE, exposed, light, lit_from_beside, rms, scenes
from teralign.cluster import Compute
from teralign.correction import FlatField, read_flatfield, write_flatfield
from teralign.errors import DataError, InputError
from teralign.tasks.flatfields import (
    RECORD,
    _sample,
    apply_flatfield,
    estimate_flatfield,
    plan_apply_flatfield,
    refuse_corrected,
)
from teralign.tiles import Tile, TileChannel, TileSet, TileSource, read_tiles, write_tiles
from teralign.volumes import open_volume

PLANE = (48, 64)
ONE = Compute(workers=1, worker_cpus=1)


def scan(folder, stacks, **changes):
    """Write stacks (z, y, x) as TIFF tiles with their tiles.json; returns its path."""
    folder.mkdir(exist_ok=True)
    tiles = []
    for n, stack in enumerate(stacks):
        tifffile.imwrite(folder / f"t{n}.tif", stack, photometric="minisblack", metadata={"axes": "ZYX"})
        tiles.append(Tile(f"t{n}", (0, 0, 50.0 * n), stack.shape, sources=(TileSource(f"t{n}.tif"),)))
    found = TileSet((2.0, 1.0, 1.0), (TileChannel("488"),), tuple(tiles))
    write_tiles(folder / "tiles.json", replace(found, **changes))
    return folder / "tiles.json"


def flat(folder, gain=None, dark=100.0):
    gain = light(PLANE) if gain is None else gain
    path = folder / "f.npz"
    write_flatfield(
        path, FlatField(gain[None, None], np.full((1, *gain.shape), dark, np.float32), np.zeros(1), ("488",))
    )
    return path


def test_the_light_of_a_scan_is_found_and_taken_out(tmp_path):
    clear = scenes(48, shape=PLANE)
    raw = exposed(clear, light(PLANE), dark=100)
    tiles = scan(tmp_path / "raw", raw.reshape(6, 8, *PLANE))
    found = estimate_flatfield(tiles, tmp_path / "f.npz", dark=100)
    field = read_flatfield(tmp_path / "f.npz")
    assert found.channels == field.channels == ("488",)
    assert found.planes == (48,) and found.dark == (100,)
    assert rms(field.gain[0, 0], light(PLANE)) < 4
    apply_flatfield(tiles, tmp_path / "f.npz", tmp_path / "even", compute=ONE)
    even = read_tiles(tmp_path / "even" / "tiles.json")
    read = open_volume(tmp_path / "even" / even.tiles[2].sources[0].uri)
    expected = np.rint((raw.reshape(6, 8, *PLANE)[2] - 100.0) / field.gain[0, 0]).clip(0, None)
    np.testing.assert_allclose(read.read(read.grid.region), expected, atol=1)
    assert [tile.position for tile in even.tiles] == [(0, 0, 50.0 * n) for n in range(6)]


def test_sections_that_share_a_gain_for_added_light_are_told_of(tmp_path, caplog):
    planes, _ = lit_from_beside()
    tiles = scan(tmp_path / "raw", planes.reshape(6, 10, *SHAPE))
    found = estimate_flatfield(tiles, tmp_path / "f.npz", dark=200, sections=2)
    assert found.sections == (1,) and found.added_light == (True,)
    assert "its 2 sections have one gain" in caplog.text
    gain = read_flatfield(tmp_path / "f.npz").gain
    np.testing.assert_array_equal(gain[0, 0], gain[0, 1])


def test_bright_voxels_saturate_instead_of_wrapping(tmp_path):
    """A voxel of 60000 in light of 0.5 becomes 65535, where 16 bits would wrap to 54464."""
    raw = np.full((2, *PLANE), 60000, np.uint16)
    raw[0, 0, 0] = 50
    tiles = scan(tmp_path / "raw", [raw])
    apply_flatfield(tiles, flat(tmp_path, np.full(PLANE, 0.5, np.float32), 100), tmp_path / "even", compute=ONE)
    read = open_volume(tmp_path / "even" / "t0.zarr")
    values = np.asarray(read.read(read.grid.region))
    assert values[0, 0, 0] == 0
    assert (values.ravel()[1:] == 65535).all()


def test_the_raw_tiles_stay_and_a_second_correction_is_refused(tmp_path):
    raw = exposed(scenes(4, shape=PLANE), light(PLANE), dark=100)
    tiles, field = scan(tmp_path / "raw", [raw]), flat(tmp_path)
    apply_flatfield(tiles, field, tmp_path / "even", compute=ONE)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "raw" / "t0.tif"), raw)
    assert json.loads((tmp_path / "even" / RECORD).read_text())["flatfield"] == read_flatfield(field).digest()
    with pytest.raises(InputError, match="already"):
        apply_flatfield(tmp_path / "even" / "tiles.json", field, tmp_path / "twice", compute=ONE)
    moved = replace(read_tiles(tmp_path / "even" / "tiles.json"))
    source = TileSource("even/t0.zarr")
    moved = replace(moved, tiles=tuple(replace(tile, sources=(source,)) for tile in moved.tiles))
    with pytest.raises(InputError, match="already"):
        refuse_corrected(moved, tmp_path)
    with pytest.raises(InputError, match="exists already"):
        apply_flatfield(tiles, field, tmp_path / "even", compute=ONE)


def test_unfinished_work_is_continued(tmp_path):
    raw = exposed(scenes(4, shape=PLANE), light(PLANE), dark=100)
    tiles, field = scan(tmp_path / "raw", [raw, raw + 1]), flat(tmp_path)
    apply_flatfield(tiles, field, tmp_path / "whole", compute=ONE)
    (tmp_path / "raw" / "t1.tif").rename(tmp_path / "t1.tif")
    with pytest.raises(DataError, match="t1"):
        apply_flatfield(tiles, field, tmp_path / "even", compute=ONE)
    assert not (tmp_path / "even").exists()
    found = apply_flatfield(tiles, field, tmp_path / "even", compute=ONE, skip_unreadable=True)
    assert (found.written, found.left_out) == (1, 1)
    assert [tile.state for tile in read_tiles(found.tiles).tiles] == ["present", "unreadable"]


def test_a_dry_run_counts_all_tiles(tmp_path):
    raw = exposed(scenes(4, shape=PLANE), light(PLANE), dark=100)
    tiles, field = scan(tmp_path / "raw", [raw, raw, raw]), flat(tmp_path)
    plan = plan_apply_flatfield(tiles, field, tmp_path / "even", compute=ONE)
    assert plan.write_bytes == 3 * raw.nbytes
    assert sum(plan.blocks.values()) == 3
    assert not (tmp_path / "even").exists()


def test_what_does_not_fit_is_named(tmp_path):
    raw = exposed(scenes(4, shape=PLANE), light(PLANE), dark=100)
    tiles = scan(tmp_path / "raw", [raw])
    with pytest.raises(InputError, match="32 x 32 voxels"):
        apply_flatfield(tiles, flat(tmp_path, np.ones((32, 32), np.float32)), tmp_path / "even")
    tifffile.imwrite(tmp_path / "dark.tif", np.zeros((3, 8, 8), np.uint16), photometric="minisblack")
    with pytest.raises(InputError, match="dark image"):
        estimate_flatfield(tiles, tmp_path / "g.npz", dark_image=tmp_path / "dark.tif")
    with pytest.raises(InputError, match="4 planes"):
        estimate_flatfield(tiles, tmp_path / "g.npz")
    other = scan(tmp_path / "other", [raw, raw[:, :40]])
    with pytest.raises(InputError, match="t0 and t1 differ"):
        estimate_flatfield(other, tmp_path / "g.npz")


def test_planes_are_spread_over_tiles_and_depth():
    tiles = [Tile(f"t{n}", (0, 0, 0), (50, 8, 8)) for n in range(40)]
    places = _sample(tiles, 200)
    assert len(places) == len(set(places)) == 200
    assert {tile.name for tile, _ in places} == {tile.name for tile in tiles}
    assert np.ptp(np.bincount([z // 10 for _, z in places])) <= 8
    assert len(_sample(tiles, 10)) == 10
