import json

import numpy as np
import pytest
from PIL import Image

from teralign.errors import InputError
from teralign.results import to_plain
from teralign.tasks.demo_score import demo_score
from teralign.tasks.make_demo_data import make_demo_data
from teralign.tasks.report_alignment import report_alignment
from teralign.transforms import DisplacementField, StoredField, save_field


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report") / "demo"
    make_demo_data(folder, shape=(72, 96, 100), seed=2)
    return folder


def run(demo, output, **arguments):
    transforms = [demo / "true_transform.zarr"]
    return report_alignment(
        str(demo / "fixed.n5/s0"), str(demo / "moving.n5/s0"), transforms=transforms, output=output, **arguments
    )


def test_the_truth_looks_better_and_better(demo, tmp_path):
    result = run(demo, tmp_path / "report")
    metrics = json.loads((tmp_path / "report/report.json").read_text())
    assert metrics["similarity"] == to_plain(result.similarity)
    lncc = [metrics["similarity"][state]["lncc_mean"] for state in ("before", "global", "after")]
    assert lncc[0] < 0.3 < lncc[2] and lncc[0] < lncc[1] < lncc[2]
    (field,) = metrics["fields"].values()
    assert field["jacobian"]["folded_share"] == 0 and field["jacobian"]["min"] > 0.3
    assert metrics["inverse"]["lost_share"] == 0 and metrics["inverse"]["maximum"] < 0.01
    assert metrics["blocks"] is None
    assert metrics["verdict"] == "good"
    assert metrics["error_um"]["median"] <= metrics["error_um"]["p95"] < 0.5, "the truth, without any record"
    with Image.open(tmp_path / "report/overlay.png") as picture:
        assert 1500 < picture.width < 2000


def test_agreement_whitens_the_picture(demo, tmp_path):
    run(demo, tmp_path)
    with Image.open(tmp_path / "overlay.png") as picture:
        sheet = np.asarray(picture)[60:].astype(int)
    columns = np.array_split(sheet, 3, axis=1)
    colour = [np.abs(part[..., 0] - part[..., 1]).mean() / part.mean() for part in columns]
    assert colour[2] < colour[1] < colour[0]


def test_a_report_is_not_overwritten_unasked(demo, tmp_path):
    run(demo, tmp_path)
    with pytest.raises(InputError, match="--overwrite"):
        run(demo, tmp_path)
    run(demo, tmp_path, overwrite=True)


def test_a_file_is_no_folder_for_a_report(demo, tmp_path):
    (tmp_path / "report.png").write_text("mine")
    with pytest.raises(InputError, match="is a file; give a folder"):
        run(demo, tmp_path / "report.png")
    assert (tmp_path / "report.png").read_text() == "mine"


def test_folds_are_found(demo, tmp_path):
    field = StoredField.open(demo / "true_transform.zarr").read()
    values = field.values.copy()
    values[8, 8, 8] += 40
    save_field(tmp_path / "folded.zarr", DisplacementField(values, field.grid))
    result = report_alignment(
        str(demo / "fixed.n5/s1"),
        str(demo / "moving.n5/s1"),
        transforms=[tmp_path / "folded.zarr"],
        output=tmp_path / "report",
    )
    metrics = json.loads((tmp_path / "report/report.json").read_text())
    assert list(result.similarity) == ["before", "after"]
    (found,) = metrics["fields"].values()
    assert found["jacobian"]["folded_share"] > 0 and found["jacobian"]["min"] < 0


def test_an_affine_alone_makes_two_columns(demo, tmp_path):
    result = report_alignment(
        str(demo / "fixed.n5/s1"),
        str(demo / "moving.n5/s1"),
        transforms=[demo / "true_affine.mat"],
        output=tmp_path,
    )
    assert list(result.similarity) == ["before", "global"]


def test_volumes_that_do_not_meet_make_a_report_too(demo, tmp_path):
    (tmp_path / "away.mat").write_text("1 0 0 9999\n0 1 0 0\n0 0 1 0\n0 0 0 1\n")
    result = report_alignment(
        str(demo / "fixed.n5/s1"),
        str(demo / "moving.n5/s1"),
        transforms=[tmp_path / "away.mat"],
        output=tmp_path / "report",
    )
    assert result.similarity["global"].foreground_covered == 0


def test_the_truth_scores_nearly_nothing(demo, tmp_path):
    (tmp_path / "affine.mat").write_bytes((demo / "true_affine.mat").read_bytes())
    (tmp_path / "transform.zarr").symlink_to(demo / "true_transform.zarr")
    score = demo_score(demo, tmp_path)
    assert score.tre_um_before.median > 5 > score.tre_um_global.median > 0.3
    assert score.tre_um_after.p95 < 0.05
    assert score.outdir == str(tmp_path)


def test_a_missing_result_is_named(demo, tmp_path):
    with pytest.raises(InputError, match=r"there is no .*affine\.mat"):
        demo_score(demo, tmp_path)


def test_a_report_names_its_inputs_as_the_user_does(demo, tmp_path, monkeypatch):
    monkeypatch.setenv("TERALIGN_INPUT_NAMES", json.dumps({str(demo): "s3://lab/demo"}))
    run(demo, tmp_path)
    metrics = json.loads((tmp_path / "report.json").read_text())
    assert metrics["fixed"]["uri"] == metrics["run"]["inputs"]["fixed"]["uri"] == "s3://lab/demo/fixed.n5/s0"
    assert metrics["transforms"] == ["s3://lab/demo/true_transform.zarr"]
    assert list(metrics["fields"]) == metrics["transforms"]
    assert metrics["run"]["versions"]["teralign"] == metrics["teralign"]
