"""Parameters and samplesheets are checked before anything runs, with one sentence about what is wrong."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from teralign import __version__

from .runs import ROOT, nextflow

pytestmark = pytest.mark.nextflow

PAIR = {"fixed": "fix.n5", "moving": "mov.n5"}

WRONG_PARAMETERS: dict[str, tuple[dict[str, Any], str]] = {
    "unknown": (PAIR | {"bigstream_worker": 2}, r"--bigstream_worker\. Did you mean --bigstream_workers\?"),
    "camel case": (PAIR | {"defScale": "s2"}, r"no parameter --defScale\. Did you mean --def_scale\?"),
    "like nothing": (PAIR | {"qqqqqqqq": 2}, r"no parameter --qqqqqqqq\. See --help"),
    "no number": (PAIR | {"bigstream_workers": "two"}, r"--bigstream_workers must be a whole number, not 'two'"),
    "fraction": (PAIR | {"bigstream_workers": 1.5}, r"--bigstream_workers must be a whole number, not '1.5'"),
    "too small": (PAIR | {"bigstream_workers": 0}, r"--bigstream_workers must be at least 1, not 0"),
    "too large": (PAIR | {"bigstream_block_overlap": 0.7}, r"--bigstream_block_overlap must be at most 0.5, not 0.7"),
    "no flag": (PAIR | {"use_bigstream": "maybe"}, r"--use_bigstream must be true or false, not 'maybe'"),
    "no value": (PAIR | {"cluster_options": True}, r"--cluster_options needs a value; .* --cluster_options=VALUE"),
    "choice": (PAIR | {"bigstream_cluster": "yarn"}, r"--bigstream_cluster must be one of auto, local, nextflow"),
    "version": (PAIR | {"ome_zarr": 0.6}, r"--ome_zarr must be one of 0.4, 0.5, not '0.6'"),
    "steps": (PAIR | {"bigstream_local_steps": "affine;deform"}, r"--bigstream_local_steps cannot be 'affine;deform"),
    "spacing": (PAIR | {"fixed_spacing": "1,2"}, r"--fixed_spacing cannot be '1,2': Voxel spacing x,y,z"),
    "config": (PAIR | {"bigstream_config": "none.yml"}, r"--bigstream_config: the file none.yml does not exist"),
    "scheduler": (PAIR | {"dask_scheduler": "/no/file"}, r"--dask_scheduler: the file /no/file does not exist"),
    "two names": (PAIR | {"bigstream_workers": 2, "bigstream_local_align_workers": 3}, r"give --bigstream_workers"),
    "field spacing": (PAIR | {"bigstream_field_spacing": "1,2"}, r"--bigstream_field_spacing cannot be '1,2'"),
    "seed": (PAIR | {"seed": -1}, r"--seed must be at least 0"),
    "nothing": ({}, r"Nothing to align: give --fixed and --moving, or a samplesheet"),
    "half": ({"fixed": "fix.n5"}, r"Nothing to align"),
    "both": (PAIR | {"input": "sheet.csv"}, r"either --input or --fixed and --moving, not both"),
    "missing volume": ({"fixed": "no.n5", "moving": "mov.n5"}, r"--fixed: .*/no\.n5 does not exist"),
    "missing scale": (PAIR | {"def_scale": "s9"}, r"--fixed: .*fix\.n5 has no scale s9 \(--def_scale\); it has c1"),
    "no scale": (PAIR | {"aff_scale": ""}, r"--aff_scale is missing"),
    "missing group": ({"fixed": "fix.n5/c7", "moving": "mov.n5"}, r"--fixed: .*fix\.n5 has no c7 in it"),
    "address": ({"fixed": "ftp://server/fix.n5", "moving": "mov.n5"}, r"--fixed: ftp://.* only s3://, gs://, http://"),
    "bucket only": ({"fixed": "s3://bucket", "moving": "mov.n5"}, r"--fixed: s3://bucket cannot be read: .*path"),
    "file by address": ({"fixed": "s3://bucket/a.tif", "moving": "mov.n5"}, r"--fixed: s3://.* from disks only"),
    "folder for a bucket": (PAIR | {"warped_dir": "out"}, r"--warped_dir cannot be 'out': .* s3://bucket/folder"),
    "quotes": ({"fixed": "fix'.n5", "moving": "mov.n5"}, r"--fixed: fix'\.n5 has quotes"),
    "other image": (PAIR | {"apply_to": "mov.n5; no.tif"}, r"--apply_to: .*/no\.tif does not exist"),
    "interpolation": (PAIR | {"apply_to": "image.ome.tif:near"}, r"--apply_to: .* ends in 'near', which is none"),
    "channels": (PAIR | {"apply_to": "mov.n5:channels=a"}, r"'channels=a', which is none of linear, .* channels=0,2"),
    "spacing of a volume": (PAIR | {"apply_to": "mov.n5:spacing=1"}, r"--apply_to: .* in 'spacing=1', which"),
    "no points": (PAIR | {"apply_to": "names.csv"}, r"line 2 of .*names\.csv is no point: .* not 'a,b,c'"),
    "points that end": (PAIR | {"apply_to": "spots.csv:nearest"}, r"nearest is a table .* no interpolation"),
    "missing points": (PAIR | {"apply_to": "no.csv"}, r"--apply_to: .*/no\.csv does not exist"),
    "grid scale": (PAIR | {"apply_grid_scale": "s9"}, r"--fixed: .*fix\.n5 has no scale s9 \(--apply_grid_scale\)"),
    "labels": (PAIR | {"fixed_mask": "image.zarr", "fixed_mask_labels": "1,x"}, r"--fixed_mask_labels cannot be"),
    "labels of nothing": (PAIR | {"moving_mask_labels": 3}, r"--moving_mask_labels: there is no moving_mask"),
    "labels of auto": (PAIR | {"fixed_mask": "auto", "fixed_mask_labels": "1"}, r"found by itself has no labels"),
    "id with a sheet": ({"input": "sheet.csv", "id": "x"}, r"--id is for one pair: .* column id"),
    "more with a sheet": ({"input": "sheet.csv", "apply_to": "mov.n5"}, r"--apply_to is for one pair: .* apply_to"),
    "mask with a sheet": ({"input": "sheet.csv", "moving_mask": "no.tif"}, r"--moving_mask: .*/no\.tif does not"),
    "name": (PAIR | {"id": "a/b"}, r"--id cannot be 'a/b'"),
}  # fmt: skip

WRONG_SHEETS = {
    "empty": ("", r"sheet\.csv has no rows"),
    "columns only": ("id,fixed,moving\n", r"sheet\.csv has no rows"),
    "unknown column": ("id,fixed,moving,colour\na,fix.n5,mov.n5,red\n", r"a column 'colour', which is none of id,"),
    "missing column": ("id,fixed\na,fix.n5\n", r"sheet\.csv, row 1: the column moving is missing or empty"),
    "empty cell": ("id,fixed,moving\na,fix.n5,mov.n5\nb,,mov.n5\n", r"sheet\.csv, row 2: the column fixed is"),
    "twice": ("id,fixed,moving\na,fix.n5,mov.n5\na,fix.n5,mov.n5\n", r"has 2 rows with the id a: each pair"),
    "row name": ("id,fixed,moving\na b,fix.n5,mov.n5\n", r"row 1, id: 'a b' cannot name a folder"),
    "volume": ("id,fixed,moving\na,fix.n5,no.n5\n", r"sheet\.csv, row 1, moving: .*/no\.n5 does not exist"),
    "row labels": ("id,fixed,moving,fixed_mask,fixed_mask_labels\na,fix.n5,mov.n5,fix.n5,b\n", r"row 1, fixed_mask"),
    "channel": ("id,fixed,moving,moving_channel\na,fix.n5,mov.n5,x\n", r"row 1, moving_channel must be a whole"),
}  # fmt: skip

RIGHT: list[dict[str, Any]] = [
    PAIR,
    {"fixed": "fix.n5/c1", "moving": "mov.n5/s3/", "use_bigstream": "true", "bigstream_workers": "4"},
    PAIR
    | {
        "apply_to": "mov.n5/c1;image.ome.tif:nearest",
        "fixed_mask": "image.zarr/s2",
        "moving_mask": "image.zarr",
        "moving_spacing": "s2=1,1,.5;s3=2,2,1",
    },
    {"fixed": "image.ome.tif", "moving": "image.ome.tif", "id": "x", "fixed_spacing": "1,1,2", "fixed_channel": 3},
    {"fixed": "round1", "moving": "brain.nii.gz", "apply_to": "scan.ims;scan.ims/DataSet/ResolutionLevel 1"},
    {"fixed": "atlas/s3", "moving": "atlas", "apply_to": "atlas.precomputed;atlas.precomputed/s3"},
    PAIR | {"dask_scheduler": "tcp://host:8786", "bigstream_field_spacing": 2, "seed": 7},
    {
        "fixed": "s3://bucket/round1.n5/",
        "moving": "https://server:8080/round2/s2",
        "fixed_mask": "gs://bucket/mask.zarr",
        "apply_to": "s3://bucket/more/labels.zarr/c1:nearest",
    },
    {"input": "sheet.csv"},
    {"input": "sheet.csv", "fixed_mask": "image.zarr", "fixed_channel": 2, "moving_channel": 3},
    PAIR
    | {
        "fixed_mask": "auto",
        "moving_mask": "image.zarr",
        "moving_mask_labels": "1; 7",
        "moving_spacing": "s2=1,1,.5",
        "apply_scale": "s2",
        "apply_grid_scale": "s3",
        "apply_to": "mov.n5/s3:channels=0,2:spacing=2,2,1; spots.csv; image.ome.tif:nearest; mov.n5/c1",
    },
    {"input": "rounds.csv", "fixed_mask": "image.zarr", "fixed_mask_labels": 5},
]


@pytest.fixture
def answers(volumes: Path) -> list[dict[str, Any]]:
    """What the checks say to all the cases, from one run of Nextflow."""
    sheets = []
    for name, (text, _) in WRONG_SHEETS.items():
        path = volumes / name / "sheet.csv"
        path.parent.mkdir()
        path.write_text(
            text.replace("fix.n5", "../fix.n5").replace("mov.n5", "../mov.n5").replace("no.n5", "../no.n5")
        )
        sheets.append({"input": str(path)})
    (volumes / "sheet.csv").write_text("\ufeffid, fixed,moving,moving_channel\na,fix.n5,mov.n5,1\nb,mov.n5,fix.n5,\n")
    (volumes / "names.csv").write_text("name,first,last\na,b,c\n")
    (volumes / "spots.csv").write_text('x,y,z\n1,"-2.5",3e1,a spot\n')
    (volumes / "rounds.csv").write_text(
        "id,fixed,moving,fixed_mask,apply_to,apply_scale,apply_grid_scale\n"
        "a,fix.n5,mov.n5,auto,spots.csv,s3,s2\n"
        "b,fix.n5,mov.n5,,,,\n"
    )
    cases = [case for case, _ in WRONG_PARAMETERS.values()] + sheets + RIGHT
    (volumes / "cases.json").write_text(json.dumps(cases))
    script = ROOT / "tests" / "nextflow" / "sentences.nf"
    run = nextflow(volumes, "--cases", "cases.json", "--answers", "answers.json", script=script)
    assert run.returncode == 0, run.output
    result: list[dict[str, Any]] = json.loads((volumes / "answers.json").read_text())
    return result


def test_each_mistake_gets_its_sentence_and_what_is_right_none(answers: list[dict[str, Any]], volumes: Path) -> None:
    expected = [(name, sentence) for name, (_, sentence) in (WRONG_PARAMETERS | WRONG_SHEETS).items()]
    for (name, sentence), answer in zip(expected, answers, strict=False):
        assert answer["error"] is not None, f"{name}: no error"
        assert re.search(sentence, answer["error"]), f"{name}: {answer['error']}"
        assert "\n" not in answer["error"]

    right = answers[len(expected) :]
    assert [answer["error"] for answer in right] == [None] * len(RIGHT)
    plain, grouped, rich, files, whole, atlas, _, remote, sheet, sheet_with_more, along, rounds = right
    pair = plain["pairs"][0]
    assert pair["id"] == "mov-to-fix"
    assert pair["fixed"]["path"] == str(volumes / "fix.n5")
    assert (pair["fixed"]["global"], pair["moving"]["local"]) == ("fix.n5/s3", "mov.n5/s2")
    assert pair["images"] == [["warped", "mov.n5/s2", None]]

    pair = grouped["pairs"][0]
    assert (pair["fixed"]["global"], pair["fixed"]["apply"]) == ("fix.n5/c1/s3", "fix.n5/c1/s2")
    assert pair["moving"]["local"] == "mov.n5/s3", "a path that names an array is used as it is"

    pair = rich["pairs"][0]
    assert pair["images"] == [
        ["warped", "mov.n5/s2", None],
        ["warped_1_mov", "mov.n5/c1/s2", None],
        ["warped_2_image", "image.ome.tif", "nearest"],
    ]
    assert pair["fixed_mask"]["global"] == "image.zarr/s2"
    assert pair["moving_mask"]["local"] == "image.zarr/s2"
    assert pair["moving_mask"]["global"] == "image.zarr", "without such a scale, its finest level"
    assert pair["spacings"]["moving"] == {"s2": "1,1,.5", "s3": "2,2,1"}

    assert files["pairs"][0]["fixed"]["local"] == "image.ome.tif"
    pair = whole["pairs"][0]
    assert pair["id"] == "brain-to-round1"
    assert (pair["fixed"]["local"], pair["moving"]["global"]) == ("round1", "brain.nii.gz")
    levels = [["warped_1_scan", "scan.ims", None], ["warped_2_scan", "scan.ims/DataSet/ResolutionLevel 1", None]]
    assert pair["images"][1:] == levels
    pair = atlas["pairs"][0]
    assert (pair["fixed"]["local"], pair["moving"]["local"]) == ("atlas/s3", "atlas/s2")
    assert [volume for _, volume, _ in pair["images"]] == ["atlas/s2", "atlas.precomputed/s2", "atlas.precomputed/s3"]
    pair = remote["pairs"][0]
    assert (pair["id"], pair["fixed"]["fingerprint"]) == ("s2-to-round1", "")
    assert (pair["fixed"]["global"], pair["fixed"]["local"]) == (
        "s3://bucket/round1.n5/s3",
        "s3://bucket/round1.n5/s2",
    )
    assert pair["moving"]["global"] == "https://server:8080/round2/s2", "the end is a scale, so it is an array"
    assert pair["fixed_mask"]["local"] == "gs://bucket/mask.zarr"
    assert pair["images"][1:] == [["warped_1_labels", "s3://bucket/more/labels.zarr/c1/s2", "nearest"]]
    assert [pair["channels"] for pair in sheet["pairs"]] == [{"fixed": 0, "moving": 1}, {"fixed": 0, "moving": 0}]
    assert [pair["channels"] for pair in sheet_with_more["pairs"]] == [
        {"fixed": 2, "moving": 1},
        {"fixed": 2, "moving": 3},
    ]
    assert [pair["fixed_mask"]["local"] for pair in sheet_with_more["pairs"]] == ["image.zarr/s2"] * 2

    pair = along["pairs"][0]
    assert (pair["fixed"]["apply"], pair["moving"]["apply"]) == ("fix.n5/s3", "mov.n5/s2")
    assert pair["fixed_mask"] is None
    assert pair["mask_options"] == ["--fixed-mask auto", "--moving-mask-labels 1,7"]
    assert pair["images"] == [
        ["warped", "mov.n5/s2", None],
        ["warped_1_mov", "mov.n5/s3", None],
        ["warped_3_image", "image.ome.tif", "nearest"],
        ["warped_4_mov", "mov.n5/c1/s2", None],
    ]
    assert pair["points"] == [["warped_2_spots", "spots.csv"]]
    assert pair["options"] == [
        "--moving-spacing 1,1,.5",
        "--moving-spacing 2,2,1 --moving-channel 0,2",
        "--interpolation nearest",
        "--moving-spacing 1,1,.5",
    ]
    first, second = rounds["pairs"]
    assert (first["fixed"]["apply"], first["moving"]["apply"]) == ("fix.n5/s2", "mov.n5/s3")
    assert first["mask_options"] == ["--fixed-mask auto"], "labels belong to the mask of the parameters"
    assert (second["fixed"]["apply"], second["moving"]["apply"]) == ("fix.n5/s2", "mov.n5/s2")
    assert second["mask_options"] == ["--fixed-mask-labels 5"]
    assert second["fixed_mask"]["local"] == "image.zarr/s2"


def test_a_wrong_parameter_ends_the_run_before_any_task(volumes: Path) -> None:
    run = nextflow(volumes, "--fixed", "fix.n5", "--moving", "mov.n5", "--defscale", "s2")
    assert run.returncode != 0
    assert "There is no parameter --defscale. Did you mean --def_scale?" in run.output
    assert run.trace == []
    assert not (volumes / "results").exists()


def test_help_shows_every_parameter_with_its_default(tmp_path: Path) -> None:
    run = nextflow(tmp_path, "--help")
    assert run.returncode == 0
    schema = json.loads((ROOT / "nextflow_schema.json").read_text())
    for group in schema["$defs"].values():
        for name, rule in group["properties"].items():
            shown = not (rule.get("deprecated") or rule.get("hidden"))
            assert (f"  --{name} " in run.output) == shown
    assert re.search(r"--def_scale .*\[default: s2\]", run.output)


def test_version_is_that_of_the_package(tmp_path: Path) -> None:
    run = nextflow(tmp_path, "--version")
    assert run.returncode == 0
    assert f"teralign {__version__}" in run.output
    assert f'\nversion = "{__version__}"\n' in (ROOT / "pyproject.toml").read_text()
    assert f"= 'teralign:{__version__}'\n" in (ROOT / "nextflow.config").read_text()
