"""`evaluate-alignment` on files: every kind of score in one call, tables, bad input."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from scipy import ndimage

from label_volumes import blobs, write
from teralign.cli.main import load_command, run
from teralign.cluster import Compute
from teralign.tasks.apply_transform import apply_transform
from teralign.transforms import Affine, DisplacementField, save_field

SHAPE, SPACING = (40, 44, 48), (2.0, 1.0, 1.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Images, labels and landmarks, moved by whole voxels, and the transform that undoes it, as affine and field."""
    folder = tmp_path_factory.mktemp("evaluate")
    labels = blobs(7, SHAPE, 6)
    image = (1000 * ndimage.gaussian_filter((labels > 0) + np.random.default_rng(0).random(SHAPE), 1)).astype(
        np.uint16
    )
    for name, array in (("fixed", image), ("fixed_labels", labels)):
        volume = write(folder / f"{name}.zarr", array, SPACING)
        write(folder / f"{name.replace('fixed', 'moving')}.zarr", np.roll(array, (1, 2, -2), (0, 1, 2)), SPACING)
    shift = np.array((2.0, 2.0, -2.0))
    Affine.from_parts(np.eye(3), tuple(shift)).save(folder / "shift.mat")
    nodes = volume.grid.nodes((4, 4, 4))
    save_field(folder / "field.zarr", DisplacementField(np.tile(shift, (*nodes.shape, 1)).astype(np.float32), nodes))
    points = np.random.default_rng(1).uniform(10, 30, (20, 3))
    for name, at in (("fixed", points), ("moving", points + shift + (0, 0.3, 0.4))):
        rows = "\n".join(f"{x},{y},{z}" for z, y, x in at)
        (folder / f"{name}.csv").write_text(f"x,y,z\n{rows}\n")
    return folder


def evaluate(capsys, *arguments):
    """Run the command; return its exit code, the JSON of standard output or None, and standard error."""
    code = run(load_command("evaluate-alignment"), list(map(str, arguments)), name="evaluate-alignment")
    out, err = capsys.readouterr()
    return code, json.loads(out) if out else None, err


def pair(folder, kind, ending=".zarr"):
    option = f"-{kind}" if kind else ""
    name = f"_{kind}" if kind and ending == ".zarr" else ""
    return [word for role in ("fixed", "moving") for word in (f"--{role}{option}", folder / f"{role}{name}{ending}")]


@pytest.mark.parametrize("transform", ["shift.mat", "field.zarr"])
def test_all_scores_in_one_call(folder, tmp_path, capsys, transform):
    code, found, err = evaluate(
        capsys,
        *pair(folder, ""),
        *pair(folder, "labels"),
        *pair(folder, "points", ".csv"),
        *("--transform", folder / transform, "--output", tmp_path / "scores.json"),
        *("--label-table", tmp_path / "labels.csv", "--point-table", tmp_path / "points.csv"),
        *("--block-size", "32,16,48", "--threads", 2),
    )
    assert code == 0, err
    assert found["labels"]["dice"] > 0.9 > 0.85 > found["labels"]["dice_before"]
    assert found["labels"]["dice30"] >= found["labels"]["dice30_before"]
    assert found["images"]["after"]["ncc"] > 0.9 > found["images"]["before"]["ncc"]
    assert found["points"]["after"]["max"] == pytest.approx(0.5, abs=1e-4)
    assert found["points"]["before"]["n"] == 20
    assert found["field"]["sdlogj"] == pytest.approx(0, abs=1e-6)
    assert "Dice30" in err
    assert "TRE, p95" in err
    written = json.loads((tmp_path / "scores.json").read_text())
    assert (written["format"], written["labels"]) == (1, found["labels"])
    labels = list(csv.DictReader((tmp_path / "labels.csv").read_text().splitlines()))
    assert [float(row["dice"]) for row in labels] == [score["dice"] for score in found["labels"]["per_label"]]
    points = list(csv.DictReader((tmp_path / "points.csv").read_text().splitlines()))
    assert [float(row["error_um"]) for row in points] == found["points"]["per_point_um"]


def test_workers_give_the_figures_of_threads_and_leave_nothing(folder, tmp_path, capsys, monkeypatch, scheduler):
    monkeypatch.chdir(tmp_path)
    arguments = [
        *(*pair(folder, ""), *pair(folder, "labels"), *pair(folder, "points", ".csv")),
        *("--transform", folder / "field.zarr", "--block-size", "32,32,48"),
    ]
    _, threads, _ = evaluate(capsys, *arguments)
    code, workers, err = evaluate(capsys, *arguments, "--scheduler", scheduler)
    assert code == 0, err
    assert "labels-moving: 4 of 4" in err
    assert "before-joint: 4 of 4" in err
    for part in ("labels", "images", "points", "field"):
        assert workers[part] == threads[part]
    assert list(tmp_path.iterdir()) == []


def test_aligned_volumes_give_the_scores_of_warping_on_the_fly(folder, tmp_path, capsys):
    apply_transform(
        str(folder / "fixed_labels.zarr"),
        str(folder / "moving_labels.zarr"),
        transforms=[folder / "shift.mat"],
        output=tmp_path / "aligned.zarr",
        interpolation="nearest",
        compute=Compute(workers=1),
    )
    labels = ["--fixed-labels", folder / "fixed_labels.zarr", "--moving-labels"]
    _, warped, _ = evaluate(capsys, *labels, folder / "moving_labels.zarr", "--transform", folder / "shift.mat")
    before = ["--labels-before", folder / "moving_labels.zarr"]
    _, aligned, err = evaluate(capsys, *labels, tmp_path / "aligned.zarr", *before)
    assert aligned["labels"] == warped["labels"], err
    _, images, _ = evaluate(capsys, "--fixed", folder / "fixed.zarr", "--moving", folder / "moving.zarr")
    assert images["images"]["before"] is None
    assert images["images"]["after"]["foreground_covered"] == 1.0
    assert images["field"] is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("", ["nothing to compare"]),
        ("--fixed fixed.zarr", ["--fixed needs --moving"]),
        ("--moving-points moving.csv", ["--moving-points needs --fixed-points"]),
        ("--fixed fixed.zarr --moving small.zarr", ["not on the grid of", "small.zarr", "--transform"]),
        ("--fixed-labels fixed_labels.zarr --moving-labels others.zarr", ["no label in common"]),
        ("--fixed-labels fixed_labels.zarr --moving-labels empty.zarr", ["empty.zarr", "0 everywhere"]),
        ("--fixed-points fixed.csv --moving-points few.csv", ["must be pairs"]),
        ("--fixed fixed.zarr --moving moving.zarr --block-size 24,24,24", ["multiples of 16"]),
        ("--fixed fixed.zarr --moving moving.zarr --label-table l.csv", ["--label-table", "--fixed-labels"]),
        ("--fixed fixed.zarr --moving moving.zarr --labels-before empty.zarr", ["--labels-before", "--fixed-labels"]),
    ],
)
def test_bad_input_is_one_sentence(folder, tmp_path, capsys, monkeypatch, arguments, words):
    monkeypatch.chdir(folder)
    if not (folder / "small.zarr").exists():
        write(folder / "small.zarr", np.ones((8, 8, 8), np.uint8))
        write(folder / "others.zarr", np.full(SHAPE, 99, np.uint8), SPACING)
        write(folder / "empty.zarr", np.zeros(SHAPE, np.uint8), SPACING)
        (folder / "few.csv").write_text("x,y,z\n1,2,3\n")
    code, found, err = evaluate(capsys, *arguments.split())
    assert (code, found) == (2, None)
    assert err.strip().splitlines()[-1].startswith("Error: ")
    for word in words:
        assert word in err
