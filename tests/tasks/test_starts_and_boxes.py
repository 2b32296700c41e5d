"""Alignments that start from a given transform, are skipped, or look only at a box; samples that were expanded.

Tissue of known places is drawn through a known map, so that each result is compared with the truth.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest

import phantoms
from teralign.cli.main import load_command, run
from teralign.grids import Grid, Region
from teralign.registration import Image
from teralign.tasks.global_align import global_align, plan_global_align
from teralign.transforms import Affine
from teralign.volumes import create_volume, open_volume

VOXEL = 2.5
GRID = Grid((56, 60, 64), (VOXEL,) * 3, (10.0, 0.0, -20.0))
TURNED = phantoms.affine_about(GRID.centre, rotation=(50, 8, -5), shift=(6, -9, 12))
HALF = Region((0, 0, 0), (56, 60, 32))
"""The voxels of the left half, which lies at x below 58.75 µm."""
LEFT = ((7.0, -2.0, -22.0), (200.0, 200.0, 58.75))


def write(path: Path, image: Image) -> str:
    """The image as OME-Zarr of one level."""
    writer = create_volume(path, grid=image.grid, dtype=image.array.dtype, levels=1)
    for region in image.grid.region.split(writer.write_shape):
        writer.write(region, np.ascontiguousarray(image.array[region.slices]))
    return str(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A round, and another that is turned by 50 degrees, with the map between them and one 1 degree beside it."""
    folder = tmp_path_factory.mktemp("turned")
    fixed, moving = phantoms.pair(phantoms.Scene.cells(160.0, seed=3), GRID, GRID, TURNED)
    write(folder / "fixed.zarr", fixed)
    write(folder / "moving.zarr", moving)
    TURNED.save(folder / "truth.mat")
    (TURNED @ phantoms.affine_about(GRID.centre, rotation=(0.5, 1, 0), shift=(2, 1, -2))).save(folder / "near.mat")
    (TURNED @ phantoms.affine_about(GRID.centre, rotation=(5, 10, 20), shift=(10, 40, -40))).save(folder / "far.mat")
    return folder


def voxels_off(path: Path, truth: Affine = TURNED) -> float:
    """The median distance, in voxels, between where the written and the true map take points of the fixed round."""
    found = Affine.from_file(path)
    return float(np.median(phantoms.errors(found.map_points, truth.map_points, GRID))) / VOXEL


def test_a_start_leads_to_the_truth_where_none_does_not(folder, tmp_path):
    sides, steps = (folder / "fixed.zarr", folder / "moving.zarr"), ["affine"]
    alone, started = tmp_path / "alone.mat", tmp_path / "started.mat"
    global_align(*sides, output=alone, steps=steps)
    result = global_align(*sides, output=started, steps=steps, initial_transforms=[folder / "near.mat"])
    assert voxels_off(alone) > 5
    assert voxels_off(folder / "near.mat") > 1
    assert voxels_off(started) < 0.2
    assert result.started_from == (str(folder / "near.mat"),)
    report = json.loads(started.with_suffix(".json").read_text())
    assert report["started_from"] == report["run"]["inputs"]["initial_transforms"] == [str(folder / "near.mat")]
    assert report["skipped"] is False


def test_a_start_far_off_is_left_and_a_right_one_is_not_worsened(folder, tmp_path):
    sides = folder / "fixed.zarr", folder / "moving.zarr"
    errors = {}
    for start in ("far.mat", "truth.mat"):
        global_align(*sides, output=tmp_path / start, initial_transforms=[folder / start])
        errors[start] = voxels_off(tmp_path / start)
    assert voxels_off(folder / "far.mat") > 20
    assert errors["far.mat"] < 0.2
    assert errors["truth.mat"] < 0.05
    report = json.loads((tmp_path / "truth.json").read_text())
    assert all(step["metric_after"] >= step["metric_before"] or step["state"] == "kept" for step in report["steps"])


def test_no_steps_pass_the_start_through(folder, tmp_path, caplog):
    """The product of all starts; without one, the identity."""
    caplog.set_level(logging.INFO, "teralign")
    sides = folder / "fixed.zarr", folder / "moving.zarr"
    starts = [folder / "near.mat", folder / "far.mat"]
    result = global_align(*sides, output=tmp_path / "a.mat", steps=(), initial_transforms=starts)
    assert result.skipped
    expected = Affine.from_file(starts[0]) @ Affine.from_file(starts[1])
    np.testing.assert_array_equal(Affine.from_file(tmp_path / "a.mat").matrix, expected.matrix)
    report = json.loads((tmp_path / "a.json").read_text())
    assert report["steps"] == report["run"]["parameters"]["steps"] == []
    assert report["started_from"] == [str(path) for path in starts]
    assert report["skipped"] is True
    (line,) = (record.getMessage() for record in caplog.records if "no steps" in record.getMessage())
    assert str(starts[1]) in line
    assert plan_global_align(*sides, output=tmp_path / "b.mat", steps=()).read_bytes == 0

    command = f"--fixed {sides[0]} --moving {sides[1]} --steps= --output {tmp_path}/b.mat --aligned {tmp_path}/b.zarr"
    assert run(load_command("global-align"), command.split(), name="global-align") == 0
    np.testing.assert_array_equal(Affine.from_file(tmp_path / "b.mat").matrix, np.eye(4))
    np.testing.assert_array_equal(open_volume(tmp_path / "b.zarr").read(), open_volume(sides[1]).read())
    config = {"global_align": {"steps": []}}
    assert global_align(*sides, output=tmp_path / "c.mat", config=config).steps == ()
