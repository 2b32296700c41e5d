"""Whole volumes in, one matrix out."""

from __future__ import annotations

import json

import numpy as np
import pytest

from teralign.alignment import Side
from teralign.errors import InputError
from teralign.tasks.global_align import global_align
from teralign.transforms import Affine, Stack, warp
from teralign.volumes import create_volume, open_volume, storage


def test_the_affine_comes_as_near_as_an_affine_can(pair):
    fixed, moving = pair.landmarks
    design = np.c_[fixed, np.ones(len(fixed))]
    best = np.linalg.norm(design @ np.linalg.lstsq(design, moving, rcond=None)[0] - moving, axis=1)
    assert np.median(pair.errors(pair.affine)) < 1.3 * np.median(best)


def test_the_report_tells_each_step(pair):
    report = json.loads(pair.affine.with_suffix(".json").read_text())
    assert [s["name"] for s in report["steps"]] == ["ransac", "affine"]
    assert report["steps"][0]["state"] == "improved"
    assert report["steps"][0]["metric_after"] > report["steps"][0]["metric_before"]
    assert report["verdict"] == report["assessment"]["verdict"] == "good"


@pytest.mark.parametrize("name", ["aligned.zarr", "aligned.tif"])
def test_the_aligned_volume_is_moving_on_the_fixed_grid(name, pair, tmp_path):
    fixed, moving = (open_volume(f"{pair.folder}/{role}.n5/s1") for role in ("fixed", "moving"))
    out = tmp_path / "affine.mat"
    global_align(fixed.uri, moving.uri, output=out, aligned=str(tmp_path / name), steps=["ransac"])
    aligned = open_volume(tmp_path / name)
    assert aligned.grid.shape == fixed.grid.shape
    np.testing.assert_allclose(aligned.grid.spacing, fixed.grid.spacing, rtol=1e-12)
    np.testing.assert_allclose(aligned.grid.origin, fixed.grid.origin, rtol=1e-12)
    expected = warp(
        moving.read(),
        moving.grid,
        grid=fixed.grid,
        region=fixed.grid.region,
        transform=Stack((Affine.from_file(out),)),
    )
    np.testing.assert_array_equal(aligned.read(), expected)
    assert storage(aligned).manifest == (name == "aligned.zarr")
    if name == "aligned.zarr":
        assert aligned.display[0].window == (0, 65535, *np.rint(np.percentile(expected, (0.1, 99.9))))
    assert not (tmp_path / f"{name}.partial").exists()


def test_one_seed_gives_one_result(pair, tmp_path):
    again = tmp_path / "again.mat"
    source = [f"{pair.folder}/{role}.n5/s1" for role in ("fixed", "moving")]
    global_align(*source, output=again, steps=["ransac", "affine"], threads=1)
    assert again.read_bytes() == pair.affine.read_bytes()


def test_a_timepoint_can_be_chosen(pair, tmp_path):
    """Each volume has a timepoint of nothing, which cannot be aligned, and one of tissue."""
    sources = []
    for role, tissue in (("fixed", 1), ("moving", 0)):
        volume = open_volume(f"{pair.folder}/{role}.n5/s1")
        path = tmp_path / f"{role}.zarr"
        writer = create_volume(path, grid=volume.grid, dtype=volume.dtype, timepoints=2, levels=1)
        writer.write(volume.grid.region, volume.read(), timepoint=tissue)
        sources.append(str(path))
    with pytest.raises(InputError, match=r"fixed volume .* is 0 everywhere"):
        global_align(*sources, output=tmp_path / "a.mat", steps=["ransac"])
    fixed = Side(sources[0], timepoint=1)
    global_align(fixed, sources[1], output=tmp_path / "a.mat", steps=["ransac", "affine"])
    assert (tmp_path / "a.mat").read_bytes() == pair.affine.read_bytes()


def test_a_deform_step_needs_a_field(pair, tmp_path):
    with pytest.raises(InputError, match=r"must be a \.zarr, for a deform step"):
        global_align(pair.fixed, pair.moving, output=tmp_path / "a.mat", steps=["affine", "deform"])


def test_an_output_that_exists_stays(pair):
    before = pair.affine.read_bytes()
    with pytest.raises(InputError, match=r"exists already.*--overwrite"):
        global_align(pair.fixed, pair.moving, output=pair.affine, steps=["ransac"])
    assert pair.affine.read_bytes() == before


def test_the_record_names_inputs_as_the_user_does(pair, tmp_path, monkeypatch):
    """The pipeline runs commands on links in a work directory, and says whose they are."""
    for role in ("fixed", "moving"):
        (tmp_path / role).mkdir()
        (tmp_path / role / "a.n5").symlink_to(pair.folder / f"{role}.n5")
    monkeypatch.chdir(tmp_path)
    names = {"fixed/a.n5": "/data/round1.n5", "moving": "s3://bucket/round2", "out": "/results/pair"}
    monkeypatch.setenv("TERALIGN_INPUT_NAMES", json.dumps(names))
    (tmp_path / "c.yml").write_text("ransac: {blob_sizes: [6, 20]}\n")
    global_align("fixed/a.n5/s1", "moving/a.n5/s1", output="out/a.mat", steps=["ransac"], config="c.yml", seed=7)
    report = json.loads((tmp_path / "out" / "a.json").read_text())
    assert report["fixed"] == report["run"]["inputs"]["fixed"]["uri"] == "/data/round1.n5/s1"
    assert report["moving"] == "s3://bucket/round2/a.n5/s1"
    assert report["output"] == "/results/pair/a.mat"
    assert report["run"]["config"] == "ransac: {blob_sizes: [6, 20]}\n"
    (step,) = report["run"]["parameters"]["steps"]
    assert step["step"] == "ransac"
    assert step["blob_sizes"] == [6.0, 20.0]
    assert report["run"]["parameters"]["seed"] == 7


def test_what_was_not_measured_is_null(pair, tmp_path):
    """Nothing overlaps, so that no metric is measured; the report stays JSON that every parser reads."""
    far = Side(f"{pair.folder}/moving.n5/s1", spacing=(0.01, 0.01, 0.01))
    global_align(f"{pair.folder}/fixed.n5/s1", far, output=tmp_path / "a.mat", steps=["ransac"])
    text = (tmp_path / "a.json").read_text()
    assert "NaN" not in text
    assert json.loads(text)["steps"][0]["state"] in ("kept", "improved")
