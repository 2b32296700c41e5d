"""Tiles of the demo show the scene where their truth says, each with noise of its own."""

import json
from dataclasses import replace

import numpy as np
import pytest
import tifffile

from teralign.demo import make_phantom, make_scan, tile_side
from teralign.demo.tiles import StageFaults
from teralign.grids import Grid
from teralign.tasks.make_demo_data import make_demo_data

SHAPE = (48, 60, 72)
EXACT = StageFaults((0, 0, 0), (0, 0, 0), (0, 0, 0), (0, 0, 0))


@pytest.fixture(scope="module")
def phantom():
    return make_phantom(SHAPE, seed=3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("tiles") / "demo"
    make_demo_data(path, shape=SHAPE, seed=3, tiles=2)
    return path


def test_tiles_of_an_exact_stage_are_the_volume_under_another_lamp(phantom):
    scan = make_scan(phantom.fixed, tile_side(SHAPE, (2, 2)), (2, 2), seed=3, faults=EXACT)
    whole = phantom.fixed.render(phantom.fixed.grid.region).astype(float)
    for tile in scan.tiles:
        assert tile.true == tile.stage
        y, x = (round(at / size) for at, size in zip(tile.true[1:], phantom.fixed.grid.spacing[1:], strict=True))
        part = whole[:, y : y + scan.shape[1], x : x + scan.shape[2]]
        voxels = scan.draw(tile)[:, : part.shape[1], : part.shape[2]].astype(float)
        assert np.corrcoef(voxels.ravel(), part.ravel())[0, 1] > 0.8


def test_two_tiles_share_tissue_but_no_noise(phantom):
    scan = make_scan(phantom.fixed, 24, (1, 1), seed=3, faults=EXACT)
    one, other = (scan.draw(replace(scan.tiles[0], order=order)).astype(float) for order in (0, 1))
    noise = one - other
    assert np.mean(noise != 0) > 0.9 and abs(noise.mean()) < 1
    variance = (one.mean() - phantom.fixed.round.offset) * phantom.fixed.round.counts_per_photon
    assert noise.var() / 2 == pytest.approx(variance + phantom.fixed.round.read_noise**2, rel=0.1)


def test_the_stage_is_off_by_voxels_and_the_seed_decides(phantom):
    scans = [make_scan(phantom.fixed, 40, (3, 4), seed) for seed in (1, 1, 2)]
    assert scans[0].tiles == scans[1].tiles != scans[2].tiles
    off = np.array([np.subtract(t.true, t.stage) for t in scans[0].tiles]) / phantom.fixed.grid.spacing
    assert 0.5 < np.linalg.norm(off - np.median(off, axis=0), axis=1).mean() < 8
    assert [(t.row, t.column) for t in scans[0].tiles[3:6]] == [(0, 3), (1, 3), (1, 2)]  # a snake


def test_a_tile_drawn_elsewhere_is_that_part_of_the_scene(phantom):
    """A tile a whole voxel further shows what its neighbour shows a voxel on, but for light and noise."""
    scan = make_scan(phantom.moving, 32, (1, 1), seed=1, faults=EXACT)
    (tile,) = scan.tiles
    spacing = phantom.moving.grid.spacing
    voxels = scan.draw(tile).astype(float)
    shown = phantom.moving.render(Grid(SHAPE, spacing).region).astype(float)[: voxels.shape[0], :32, :32]
    shifted = np.roll(voxels, 2, axis=2)
    same, other = (np.corrcoef(v[:, :, 4:].ravel(), shown[:, :, 4:].ravel())[0, 1] for v in (voxels, shifted))
    assert same > other + 0.1


def test_the_files_are_those_of_colm(folder):
    truth = json.loads((folder / "tiles_truth.json").read_text())
    for name in ("fixed", "moving"):
        facts = truth[name]
        place = folder / facts["folder"]
        assert (place / "Scanned Cells.txt").read_text().split() == ["1,1", "1,1"]
        settings = (place / "Experiment.ini").read_text()
        assert 'X Resolution = "44"' in settings and 'Stack Step (mm) = "0.000840"' in settings
        planes = sorted((place / "VW0" / "LOC003").iterdir())
        assert len(planes) == facts["shape"][0]
        assert tifffile.imread(planes[0]).shape == tuple(facts["shape"][1:]) == (44, 44)
    assert not any(np.allclose(t["stage"], t["true"]) for t in truth["fixed"]["tiles"])


def test_voxels_of_the_rounds_do_not_depend_on_the_tiles(folder, phantom):
    from teralign.volumes import open_volume

    whole = open_volume(folder / "fixed.n5/s0").read()
    assert np.array_equal(whole, phantom.fixed.render(phantom.fixed.grid.region))
