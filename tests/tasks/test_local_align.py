"""Blocks in, one displacement field out."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile

import spec_reader
from teralign.alignment import BlockOptions, Side
from teralign.cluster import Compute
from teralign.errors import AlignmentError, TeralignError
from teralign.grids import Grid
from teralign.tasks.local_align import local_align
from teralign.tasks.transform_points import transform_points
from teralign.transforms import Affine, StoredField, folding, load_transform
from teralign.volumes import create_volume, open_volume

BLOCKS = BlockOptions((40, 52, 48), 0.1)
COMPUTE = Compute(workers=2, worker_cpus=1, worker_mem_gb=2.0)
OPTIONS = {"blocks": BLOCKS, "compute": COMPUTE}


@pytest.fixture(scope="module")
def refined(pair, tmp_path_factory):
    """The field of eight blocks on two workers, and what was said about it."""
    output = tmp_path_factory.mktemp("local") / "transform.zarr"
    result = local_align(pair.fixed, pair.moving, output=output, initial_transforms=[pair.affine], **OPTIONS)
    return output, result


def write(path: Path, array: np.ndarray, grid: Grid) -> str:
    """A volume with one chunk, as OME-Zarr."""
    writer = create_volume(path, grid=grid, dtype=array.dtype, levels=1)
    for region in grid.region.split(writer.write_shape):
        writer.write(region, np.ascontiguousarray(array[region.slices]))
    return str(path)


def test_landmarks_land_within_half_a_voxel(pair, refined):
    output, result = refined
    voxel = min(open_volume(pair.fixed).grid.spacing)
    errors = pair.errors(output) / voxel
    assert result.states == {"ok": 8}
    assert np.median(errors) < 0.5
    assert np.percentile(errors, 95) < 1.5


def test_a_reader_of_the_specification_alone_maps_the_landmarks_as_transform_points_does(pair, refined, tmp_path):
    output, _ = refined
    points = pair.folder / "landmarks_fixed.csv"
    transform_points(points, transforms=[output], output=tmp_path / "moved.csv")
    ours = np.loadtxt(tmp_path / "moved.csv", delimiter=",")[:, 2::-1]
    read = spec_reader.map_points(output, pair.landmarks[0])
    assert np.linalg.norm(read - ours, axis=1).max() < 0.01


def test_the_field_does_not_fold(refined):
    output, result = refined
    assert result.folded_share == 0
    assert folding(StoredField.open(output).read()).min_jacobian == pytest.approx(result.min_jacobian, abs=0.02)


def test_the_report_tells_each_block(refined):
    output, _ = refined
    report = json.loads(output.with_suffix(".blocks.json").read_text())
    assert len(report["records"]) == 8
    (coarser,) = report["coarser"]
    assert coarser["states"] == {"ok": 1}
    assert [stage["stage"] for stage in report["run"]["parameters"]["stages"]] == ["align-4", "align"]
    assert report["run"]["inputs"]["fixed"]["shape"] == [80, 104, 96]
    assert report["fixed_reads"] == pytest.approx(sum(r["fixed_read"] for r in report["records"]) / 798720, abs=0.01)
    assert all(r["metric_after"] >= r["metric_before"] for r in report["records"])
    assert not output.with_name(output.name + ".partial").exists()


def test_the_field_does_not_jump_at_block_faces(refined):
    """Second differences of the nodes, the jumps of its slope: at the faces they are as elsewhere."""
    output, _ = refined
    values = StoredField.open(output).read().values
    for axis in range(3):
        jumps = np.linalg.norm(np.diff(values, n=2, axis=axis), axis=-1)
        middle = jumps.shape[axis] // 2
        at_face = np.take(jumps, range(middle - 1, middle + 2), axis=axis)
        elsewhere = np.delete(jumps, range(middle - 1, middle + 2), axis=axis)
        assert at_face.mean() <= 1.25 * elsewhere.mean()
        assert np.percentile(at_face, 95) <= 1.2 * np.percentile(elsewhere, 95)


def test_blocks_are_nearly_as_accurate_as_the_whole(pair, refined, tmp_path):
    output, _ = refined
    whole = tmp_path / "whole.zarr"
    local_align(
        pair.fixed, pair.moving, output=whole, initial_transforms=[pair.affine], blocks=BlockOptions((200, 200, 200))
    )
    blocks = np.mean(pair.errors(output))
    assert blocks < 1.2 * np.mean(pair.errors(whole))


def test_a_displacement_larger_than_the_halo_is_followed_across_faces(pair, tmp_path):
    """The start is off by 11 voxels, where the blocks reach 8 into each other."""
    voxel = min(open_volume(pair.fixed).grid.spacing)
    start = Affine(load_transform(pair.affine).matrix)
    shift = np.eye(4)
    shift[:3, 3] = [6 * voxel, -7 * voxel, 6 * voxel]
    (start @ Affine(shift)).save(tmp_path / "start.mat")
    output = tmp_path / "field.zarr"
    local_align(pair.fixed, pair.moving, output=output, initial_transforms=[tmp_path / "start.mat"], **OPTIONS)
    errors = pair.errors(output) / voxel
    assert np.median(errors) < 0.5
    assert np.percentile(errors, 95) < 1.5


@pytest.mark.parametrize("metric", ["LNCC", "MMI"])
def test_a_round_that_is_dark_where_the_other_is_bright(pair, tmp_path, metric):
    volume = open_volume(pair.moving)
    negative = write(tmp_path / "negative.zarr", 60000 - np.minimum(volume.read(), 60000), volume.grid)
    config = tmp_path / "c.yml"
    config.write_text(f"deform: {{metric: {metric}}}")
    output = tmp_path / "field.zarr"
    options = {"output": output, "config": config, "initial_transforms": [pair.affine], **OPTIONS}
    assert local_align(pair.fixed, negative, **options).states == {"ok": 8}
    errors = pair.errors(output)
    assert np.median(errors) < 0.5 * np.median(pair.errors(pair.affine))


def test_a_field_can_be_refined_again(pair, refined, tmp_path):
    output, _ = refined
    again = tmp_path / "again.zarr"
    result = local_align(pair.fixed, pair.moving, output=again, initial_transforms=[output], **OPTIONS)
    assert set(result.states) <= {"ok", "kept"}
    before, after = pair.errors(output), pair.errors(again)
    assert np.median(after) < 1.2 * np.median(before)


@pytest.mark.parametrize(("workers", "threads"), [(1, 2), (1, 4), (2, 1)])
def test_workers_and_threads_and_another_run_give_the_same_bytes(pair, refined, tmp_path, workers, threads):
    output, _ = refined
    again = tmp_path / "again.zarr"
    local_align(
        pair.fixed,
        pair.moving,
        output=again,
        initial_transforms=[pair.affine],
        blocks=BLOCKS,
        compute=replace(COMPUTE, workers=workers, threads=threads),
    )
    np.testing.assert_array_equal(StoredField.open(again).read().values, StoredField.open(output).read().values)


def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(pair, refined, tmp_path):
    expected, _ = refined
    output = tmp_path / "transform.zarr"
    command = [
        *(sys.executable, "-m", "teralign", "local-align"),
        *("--fixed", pair.fixed, "--moving", pair.moving, "--initial-transform", str(pair.affine)),
        *("--output", str(output), "--block-size", "48,52,40", "--block-overlap", "0.1"),
        *("--workers", "2", "--worker-cpus", "1", "--worker-mem-gb", "2"),
    ]
    run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    records = tmp_path / "transform.zarr.partial" / "records" / "align"
    end = time.monotonic() + 120
    while len(list(records.glob("*/*.json"))) < 2 and run.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    assert not output.exists()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["resumed"] >= 2
    np.testing.assert_array_equal(StoredField.open(output).read().values, StoredField.open(expected).read().values)
    assert not records.exists()


def test_nothing_there_nothing_mapped_there_and_masks(pair, tmp_path):
    """Left third of the fixed volume empty, its right third mapped outside moving by a cut, and a mask over z."""
    fixed, moving = open_volume(pair.fixed), open_volume(pair.moving)
    array = fixed.read()
    array[:, :, :32] = 0
    cut = moving.read()[:, :, : moving.grid.shape[2] // 2]
    mask = np.zeros((40, 52, 48), np.uint8)
    mask[:30] = 255
    tifffile.imwrite(tmp_path / "mask.tif", mask)
    output = tmp_path / "field.zarr"
    result = local_align(
        Side(write(tmp_path / "fixed.zarr", array, fixed.grid), mask=str(tmp_path / "mask.tif")),
        write(tmp_path / "moving.zarr", cut, Grid(cut.shape, moving.grid.spacing, moving.grid.origin)),
        output=output,
        initial_transforms=[pair.affine],
        blocks=BlockOptions((40, 52, 16), 0.0),
        compute=Compute(workers=1),
    )
    assert result.states["empty"] >= 8
    assert result.states["outside"] >= 2
    assert sum(result.states.values()) == result.blocks == 24
    assert np.isfinite(StoredField.open(output).read().values).all()


def test_nans_do_not_count(pair, tmp_path):
    fixed = open_volume(pair.fixed)
    array = fixed.read().astype(np.float32)
    array[10:14, 10:30, 10:30] = np.nan
    source = write(tmp_path / "fixed.zarr", array, fixed.grid)
    result = local_align(
        source,
        pair.moving,
        output=tmp_path / "a.zarr",
        initial_transforms=[pair.affine],
        blocks=replace(BLOCKS, overlap=0.0),
        compute=COMPUTE,
    )
    assert result.states == {"ok": 8}
    errors = pair.errors(tmp_path / "a.zarr") / min(fixed.grid.spacing)
    assert np.median(errors) < 0.5


def test_padding_moves_no_block(pair, tmp_path):
    """Rims of zeros, which cover a block's worth of each volume, change nothing inside them."""
    sources = {}
    for name in ("fixed", "moving"):
        volume = open_volume(getattr(pair, name))
        array = volume.read()
        rim = np.ones(array.shape, bool)
        rim[8:-8, 10:-10, 12:-12] = False
        array[rim] = 0
        sources[name] = write(tmp_path / f"{name}.zarr", array, volume.grid)
    output = tmp_path / "a.zarr"
    local_align(
        sources["fixed"],
        sources["moving"],
        output=output,
        initial_transforms=[pair.affine],
        blocks=BLOCKS,
        compute=COMPUTE,
    )
    points, grid = pair.landmarks[0], open_volume(pair.fixed).grid
    low, high = grid.to_physical((12, 14, 16)), grid.to_physical(np.array(grid.shape) - (12, 14, 16))
    inside = ((points > low) & (points < high)).all(axis=1)
    errors = pair.errors(output)[inside] / min(grid.spacing)
    assert np.median(errors) < 0.5
    assert np.percentile(errors, 95) < 1.5


def test_more_failures_than_allowed_end_the_run(pair, tmp_path):
    fixed = open_volume(pair.fixed)
    source = write(tmp_path / "fixed.zarr", fixed.read(), fixed.grid)
    for chunk in filter(Path.is_file, tmp_path.glob("fixed.zarr/*/c/**/0")):
        chunk.write_bytes(b"damaged")
    with pytest.raises(TeralignError, match="1 of 1 block failed") as caught:
        local_align(source, pair.moving, output=tmp_path / "a.zarr", blocks=BlockOptions((80, 104, 96)))
    assert caught.value.exit_code in (AlignmentError.exit_code, 3)
    assert not (tmp_path / "a.zarr").exists()
