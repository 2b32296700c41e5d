"""Alignments that start from a given transform, are skipped, or look only at a box; samples that were expanded.

Tissue of known places is drawn through a known map, so that each result is compared with the truth.
"""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path

import numpy as np
import pytest

import phantoms
from teralign.alignment import BlockOptions, Side, open_source
from teralign.cli.main import load_command, run
from teralign.cluster import Compute
from teralign.errors import DataError, InputError
from teralign.grids import Grid, Region
from teralign.registration import Image
from teralign.tasks.global_align import global_align, plan_global_align
from teralign.tasks.local_align import local_align, plan_local_align
from teralign.tasks.report_alignment import ReportInputs, report_alignment
from teralign.transforms import Affine, DisplacementField, load_stack, save_field
from teralign.volumes import Chunking, create_volume, open_volume

VOXEL = 2.5
GRID = Grid((56, 60, 64), (VOXEL,) * 3, (10.0, 0.0, -20.0))
TURNED = phantoms.affine_about(GRID.centre, rotation=(50, 8, -5), shift=(6, -9, 12))
LEFT = ((-50.0, -50.0, -50.0), (200.0, 200.0, 28.75))
"""The box of the first 20 of 64 voxels along x."""


def write(path: Path, image: Image, *, times: float = 1.0, channels: int = 1) -> str:
    """The image as OME-Zarr of one level and small chunks, its lengths `times` as large."""
    grid = image.grid.divide(1 / times)
    writer = create_volume(
        path, grid=grid, dtype=image.array.dtype, levels=1, channels=channels, chunking=Chunking((32, 32, 32))
    )
    for region in grid.region.split(writer.write_shape):
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


def test_no_steps_pass_the_start_through_locally_too(folder, tmp_path):
    """No cluster is looked for, and what follows works with the map."""
    output, sides = tmp_path / "transform.zarr", (folder / "fixed.zarr", folder / "moving.zarr")
    options = {"initial_transforms": [folder / "near.mat"], "steps": (), "compute": Compute("tcp://127.0.0.1:9")}
    assert plan_local_align(*sides, output=output, **options).blocks == {}
    result = local_align(*sides, output=output, **options)
    assert (result.skipped, result.blocks, result.states) == (True, 0, {})
    found = load_stack([output]).affine
    np.testing.assert_array_equal(found.matrix, Affine.from_file(folder / "near.mat").matrix)
    content = json.loads(output.with_suffix(".blocks.json").read_text())
    assert content["records"] == content["run"]["parameters"]["steps"] == []
    assert content["started_from"] == [str(folder / "near.mat")]
    with pytest.raises(InputError, match=r"leave out near\.mat"):
        load_stack([folder / "near.mat", output])

    global_align(*sides, output=tmp_path / "affine.mat", steps=(), initial_transforms=[folder / "near.mat"])
    report_alignment(
        *sides,
        transforms=[output],
        output=tmp_path / "report",
        inputs=ReportInputs(global_report=tmp_path / "affine.json", blocks=output.with_suffix(".blocks.json")),
    )
    metrics = json.loads((tmp_path / "report" / "report.json").read_text())
    assert metrics["global_steps"] == {"skipped": True, "started_from": [str(folder / "near.mat")], "steps": []}
    assert metrics["blocks"]["skipped"] is True
    assert metrics["blocks"]["started_from"] == [str(folder / "near.mat")]
    assert list(metrics["similarity"]) == ["before", "global"]

    local_align(*sides, output=tmp_path / "none.zarr", steps=())
    assert load_stack([tmp_path / "none.zarr"]).transforms == ()


def test_a_field_can_be_the_start(folder, tmp_path):
    """The output is the whole map, so it is a .zarr; the field in it is the start's, as it was."""
    nodes = GRID.nodes((8, 8, 8))
    u = np.full((*nodes.shape, 3), 2.0, np.float32)
    save_field(tmp_path / "field.zarr", DisplacementField(u, nodes))
    sides, starts = (folder / "fixed.zarr", folder / "moving.zarr"), [folder / "near.mat", tmp_path / "field.zarr"]
    with pytest.raises(InputError, match=r"a\.mat must be a \.zarr, since the initial transforms hold a field"):
        global_align(*sides, output=tmp_path / "a.mat", steps=["affine"], initial_transforms=starts)
    global_align(*sides, output=tmp_path / "a.zarr", steps=["affine"], initial_transforms=starts)
    global_align(*sides, output=tmp_path / "b.zarr", steps=(), initial_transforms=starts)
    whole, passed = load_stack([tmp_path / "a.zarr"]), load_stack([tmp_path / "b.zarr"])
    assert np.median(phantoms.errors(whole.map_points, TURNED.map_points, GRID)) / VOXEL < 0.2
    np.testing.assert_array_equal(whole.transforms[1].read().values, u)
    assert phantoms.errors(passed.map_points, load_stack(starts).map_points, GRID).max() == 0


def test_a_box_is_all_that_counts_and_all_that_is_read(tmp_path):
    """The left third of the tissue moves one way, the rest another; chunks outside the boxes cannot be read."""
    left = phantoms.affine_about(GRID.centre, shift=(4, -6, -5))
    rest = phantoms.affine_about(GRID.centre, shift=(-7, 8, 10))
    scene = phantoms.Scene.cells(160.0, seed=5)
    fixed, moving = phantoms.pair(scene, GRID, GRID, left)
    _, other = phantoms.pair(scene, GRID, GRID, rest)
    moving.array[:, :, 20:] = other.array[:, :, 20:]
    sides = write(tmp_path / "fixed.zarr", fixed), write(tmp_path / "moving.zarr", moving)
    global_align(*sides, output=tmp_path / "whole.mat", steps=["ransac"])
    assert voxels_off(tmp_path / "whole.mat", rest) < 1
    for uri in sides:
        for chunk in Path(uri).rglob("c/*/*/*/*/1"):
            chunk.write_bytes(b"no chunk")
        with pytest.raises(DataError):
            open_volume(uri).read()
    boxes = [Side(uri, roi=LEFT) for uri in sides]
    plan = plan_global_align(*boxes, output=tmp_path / "box.mat")
    assert plan.read_bytes == 2 * 2 * 56 * 60 * 20
    global_align(*boxes, output=tmp_path / "box.mat", aligned=tmp_path / "box.zarr")
    assert voxels_off(tmp_path / "box.mat", left) < 0.5
    assert open_volume(tmp_path / "box.zarr").grid == GRID.crop(Region((0, 0, 0), (56, 60, 20)))
    inputs = json.loads((tmp_path / "box.json").read_text())["run"]["inputs"]
    assert inputs["fixed"]["roi_um"] == [list(corner) for corner in LEFT]


@pytest.mark.parametrize(
    ("roi", "message"),
    [
        ("0,0,0,1,1", "'0,0,0,1,1' is not x,y,z,x,y,z: give the low and the high corner in µm"),
        ("9,0,0,1,1,1", "--moving-roi 9,0,0,1,1,1 must be the low corner x,y,z and then the high corner, in µm"),
        (
            "200,0,0,300,1,1",
            "--moving-roi 200,0,0,300,1,1 lies outside .*moving.zarr, which reaches from -21.25,-1.25,8.75 to "
            "138.75,148.75,148.75 µm",
        ),
    ],
)
def test_a_box_that_is_none_is_one_sentence(folder, tmp_path, roi, message, capsys):
    command = (
        f"--fixed {folder}/fixed.zarr --moving {folder}/moving.zarr --output {tmp_path}/a.mat --moving-roi {roi}"
    )
    assert run(load_command("global-align"), command.split(), name="global-align") == 2
    assert re.search(message, capsys.readouterr().err)
    assert not list(tmp_path.iterdir())


def test_blocks_outside_a_box_keep_the_start_and_those_at_its_border_are_right(pair, tmp_path, scheduler):
    """Along x there are blocks of 24 voxels with halos of 8; the box ends within the second of four."""
    grid, moving = open_volume(pair.fixed).grid, open_volume(pair.moving).grid
    end = grid.to_physical((0, 0, 35.5))[2]
    far = (1e6, 1e6)
    output = tmp_path / "transform.zarr"
    fixed = Side(pair.fixed, roi=((-1e6, -1e6, -1e6), (*far, end)))
    options = {
        "initial_transforms": [pair.affine],
        "blocks": BlockOptions((40, 52, 24)),
        "compute": Compute(scheduler),
    }
    planned = plan_local_align(fixed, pair.moving, output=output, **options)
    whole = plan_local_align(pair.fixed, pair.moving, output=output, **options)
    assert planned.read_bytes < 0.6 * whole.read_bytes
    result = local_align(fixed, pair.moving, output=output, **options)
    assert result.states == {"masked": 8, "ok": 8}
    records = json.loads(output.with_suffix(".blocks.json").read_text())["records"]
    reasons = {record.get("reason") for record in records if record["state"] == "masked"}
    assert reasons == {"the block lies outside the fixed region of interest"}
    places = grid.to_index(pair.landmarks[0])[:, 2]
    errors = pair.errors(output) / min(grid.spacing)
    assert np.median(errors[places < 35]) < 0.5
    assert np.median(errors[(places > 24) & (places < 35)]) < 0.5
    whole_map = load_stack([output])
    assert result.min_jacobian > 0.5
    field = whole_map.transforms[1].read()
    lengths = np.linalg.norm(field.values, axis=-1)
    assert (lengths[:, :, -1] < lengths[:, :, 36 // 4]).all()

    part = Side(pair.moving, roi=((-1e6, -1e6, -1e6), (*far, moving.to_physical((0, 0, 30))[2])))
    result = local_align(pair.fixed, part, output=tmp_path / "part.zarr", **options)
    assert result.states["outside"] >= 4
    lands = moving.to_index(pair.landmarks[1])[:, 2]
    errors = pair.errors(tmp_path / "part.zarr") / min(grid.spacing)
    assert np.median(errors[lands < 26]) < 0.5


def test_a_box_and_a_mask_that_have_nothing_in_common_are_said(folder, tmp_path, scheduler, caplog):
    """The right half is masked in, and the box is on the left."""
    right = np.zeros(GRID.shape, np.uint16)
    right[:, :, 40:] = 1
    mask = write(tmp_path / "mask.zarr", Image(right, GRID))
    fixed = Side(f"{folder}/fixed.zarr", mask=mask, roi=LEFT)
    start = {"initial_transforms": [folder / "truth.mat"]}
    result = local_align(
        fixed, f"{folder}/moving.zarr", output=tmp_path / "a.zarr", compute=Compute(scheduler), **start
    )
    assert set(result.states) == {"masked"}
    assert (
        "all blocks are masked, empty or outside the moving volume: nothing was aligned, and the start" in caplog.text
    )


def test_lengths_of_expanded_samples_are_divided(folder, tmp_path):
    """Samples expanded 4 and 2 times give the bytes of the samples themselves, in all commands."""
    images = [Image(open_volume(folder / name).read(), GRID) for name in ("fixed.zarr", "moving.zarr")]
    mask = np.zeros((14, 15, 16), np.uint8)
    mask[2:] = 1
    coarse = Image(mask, GRID.downsample((4, 4, 4)))
    plain, large = tmp_path / "plain", tmp_path / "large"
    for where, (by_fixed, by_moving) in ((plain, (1, 1)), (large, (4, 2))):
        write(where / "fixed.zarr", images[0], times=by_fixed)
        write(where / "mask.zarr", coarse, times=by_fixed)
        write(where / "moving.zarr", images[1], times=by_moving)
        (where / "points.csv").write_text(f"x,y,z\n{50.0 * by_fixed},{40.0 * by_fixed},{60.0 * by_fixed}\n")
        factors = ["--expansion", str(by_fixed), "--moving-expansion", str(by_moving)]
        volumes = ["--fixed", f"{where}/fixed.zarr", "--moving", f"{where}/moving.zarr", *factors]
        corners = [-20.0, 0.0, 20.0, 130.0, 140.0, 140.0]
        box = ",".join(str(value * by_fixed) for value in corners)
        part = ["--fixed-roi", box, "--fixed-mask", f"{where}/mask.zarr"]
        start = ["--steps", "affine", "--initial-transform", f"{folder}/near.mat"]
        transform = ["--transform", f"{where}/affine.mat"]
        for name, options in {
            "global-align": [
                *volumes,
                *part,
                *start,
                "--output",
                f"{where}/affine.mat",
            ],
            "apply-transform": [*volumes, *transform, "--output", f"{where}/warped.zarr", "--workers", "1"],
            "transform-points": [
                *transform,
                *factors,
                "--points",
                f"{where}/points.csv",
                "--output",
                f"{where}/mapped.csv",
            ],
            "report-alignment": [*volumes, *transform, "--output", f"{where}/report"],
            "jacobian-map": [
                f"{where}/affine.mat",
                f"{where}/jacobian.zarr",
                "--fixed",
                f"{where}/fixed.zarr",
                *factors[:2],
            ],
        }.items():
            assert run(load_command(name), options, name=name) == 0, name
    assert voxels_off(plain / "affine.mat") < 0.2
    for name in ("affine.mat", "mapped.csv", "report/overlay.png"):
        assert (large / name).read_bytes() == (plain / name).read_bytes(), name
    for name in ("warped.zarr", "jacobian.zarr"):
        found, expected = open_volume(large / name), open_volume(plain / name)
        np.testing.assert_array_equal(found.read(), expected.read())
        assert found.grid == expected.grid
    assert open_volume(large / "warped.zarr").grid.spacing == (VOXEL,) * 3
    described = json.loads((large / "affine.json").read_text())["run"]["inputs"]
    assert (described["fixed"]["expansion"], described["moving"]["expansion"]) == (4.0, 2.0)
    assert described["fixed"]["spacing_um"] == [VOXEL] * 3
    assert described["fixed"]["roi_um"] == [[20.0, 0.0, -20.0], [140.0, 140.0, 130.0]]
    with pytest.raises(InputError, match="must be a positive number"):
        open_source("fixed", Side(str(large / "fixed.zarr"), expansion=0.0))


def test_the_log_names_the_channel_where_there_are_several(tmp_path, caplog):
    caplog.set_level(logging.INFO, "teralign")
    image = Image(np.ones((8, 8, 8), np.uint16), Grid((8, 8, 8), (1.0, 1.0, 1.0)))
    open_source("moving", Side(write(tmp_path / "three.zarr", image, channels=3)))
    open_source("moving", Side(write(tmp_path / "one.zarr", image)))
    said = [record.getMessage() for record in caplog.records if "channel" in record.getMessage()]
    assert said == ["moving: channel 0 (0) of the channels 0 to 2; --moving-channel selects another"]
