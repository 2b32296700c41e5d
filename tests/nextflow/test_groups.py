"""Three rounds through the real pipeline: their consistency, and all their channels in one OME-Zarr."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from label_volumes import write
from teralign.transforms import Affine, load_stack
from teralign.volumes import open_volume

from .runs import Run, demo_pair, nextflow

pytestmark = [pytest.mark.nextflow, pytest.mark.slow, pytest.mark.timeout(900)]

OPTIONS = [
    *("--input", "data/sheet.csv", "-profile", "demo", "--bigstream_global_steps", "ransac,affine"),
    *("--bigstream_local_steps", "", "--aff_scale", "s0", "--def_scale", "s0", "--apply_scale", "s0"),
    *("--use_bigstream", "--bigstream_workers", "1", "--bigstream_worker_mem_gb", "1.5"),
]
SHIFT = (3, 5, 4)


@pytest.fixture(scope="module")
def aligned(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Round b is the demo's moving one, round c the fixed one moved by some voxels; both are aligned to round a."""
    folder = tmp_path_factory.mktemp("groups")
    data = demo_pair(folder, "80,80,48", seed=3)
    fixed = open_volume(data / "fixed.n5" / "s0")
    write(data / "a.zarr", fixed.read(), fixed.grid.spacing)
    moving = open_volume(data / "moving.n5" / "s0")
    write(data / "b.zarr", moving.read(), moving.grid.spacing)
    write(data / "c.zarr", np.roll(fixed.read(), SHIFT, (0, 1, 2)), fixed.grid.spacing)
    rows = [f"{name},a.zarr,{name}.zarr" for name in ("b", "c")]
    (data / "sheet.csv").write_text("\n".join(["id,fixed,moving", *rows]) + "\n")
    run = nextflow(folder, *OPTIONS, "--merge_rounds", "--close_triangles")
    assert run.returncode == 0, run.output
    return run


def results(run: Run) -> Path:
    return run.folder / "results"


def test_rounds_that_share_a_volume_are_compared_once(aligned: Run) -> None:
    assert aligned.tasks("COMPARE_ROUNDS") == 1
    report = json.loads((results(aligned) / "rounds.json").read_text())
    assert report["format"] == 1
    assert [pair["id"] for pair in report["pairs"]] == ["b", "c"]
    [triangle] = report["triangles"]
    assert triangle["closed_by"] == "images"
    assert triangle["rounds"] == report["rounds"]
    assert triangle["median_um"] < 2.0, "an affine map describes the demo's deformation to a voxel or two"
    assert open_volume(results(aligned) / triangle["errors_um"]).dtype == np.float32
    [shown] = json.loads((results(aligned) / "index.json").read_text())["triangles"]
    assert shown["median_um"] == triangle["median_um"]
    assert "Consistency of rounds" in (results(aligned) / "index.html").read_text()


def test_all_rounds_are_in_one_volume(aligned: Run) -> None:
    merged = open_volume(results(aligned) / "rounds" / "a.zarr")
    fixed = open_volume(aligned.folder / "data" / "a.zarr")
    assert merged.channel_names == ("a", "b", "c")
    assert merged.grid == fixed.grid
    np.testing.assert_array_equal(merged.read(channel=0), fixed.read())
    for channel, name in enumerate(("b", "c"), start=1):
        warped = open_volume(results(aligned) / name / "warped.zarr").read()
        np.testing.assert_array_equal(merged.read(channel=channel), warped)
    assert all(display.window is not None for display in merged.display)


def test_a_wrong_round_stands_out(aligned: Run) -> None:
    """The run again from given maps, of which one is wrong by 6 µm."""
    folder = aligned.folder
    stack = load_stack([results(aligned) / "c" / "transform.zarr"])
    assert stack.affine is not None
    wrong = Affine.from_parts(stack.affine.matrix[:3, :3], stack.affine.matrix[:3, 3] + (0.0, 6.0, 0.0))
    wrong.save(folder / "data" / "wrong.mat")
    rows = [
        f"b,a.zarr,b.zarr,{results(aligned) / 'b' / 'transform.zarr'}",
        f"c,a.zarr,c.zarr,{folder / 'data' / 'wrong.mat'}",
    ]
    (folder / "data" / "again.csv").write_text("\n".join(["id,fixed,moving,local_transform", *rows]) + "\n")
    again = ["--input", "data/again.csv", *OPTIONS[2:4], *OPTIONS[6:], "--outdir", "again", "--close_triangles"]
    again += ["--fail_on", "never"]  # the verdict on c alone is bad too
    run = nextflow(folder, *again)
    assert run.returncode == 0, run.output
    [triangle] = json.loads((folder / "again" / "rounds.json").read_text())["triangles"]
    assert 4.0 < triangle["median_um"] < 8.0
    assert run.tasks("MERGE_ROUNDS") == 0
