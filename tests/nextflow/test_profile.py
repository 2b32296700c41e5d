"""`-profile test`: the tiny pair of the checkout through the whole workflow, and what its results record."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from teralign.transforms import load_stack

from .runs import ROOT, nextflow

pytestmark = [pytest.mark.nextflow, pytest.mark.slow]


def test_the_test_profile_aligns_a_pair_without_any_input(tmp_path: Path) -> None:
    run = nextflow(tmp_path, "-profile", "test", "--outdir", "out")
    assert run.returncode == 0, run.output
    assert [row["status"] for row in run.trace] == ["COMPLETED"] * 6
    check_results(tmp_path / "out" / "test")
    check_index(tmp_path / "out")


def check_index(results: Path) -> None:
    """The index leads to the report of each pair."""
    (pair,) = json.loads((results / "index.json").read_text())["pairs"]
    assert pair["name"] == "test"
    assert (results / pair["report"]).read_text().startswith("<!doctype html>")
    assert f'href="{pair["report"]}"' in (results / "index.html").read_text()
    assert "test" in json.loads((results / "teralign_mqc.json").read_text())["data"]


def check_results(folder: Path) -> None:
    """The results are there, and name the users' inputs and not the links in the work directory."""
    assert (folder / "report" / "report.json").exists()
    assert (folder / "warped.zarr" / "zarr.json").exists()
    assert len((folder / "warped_1_spots.csv").read_text().splitlines()) == 6
    assert len(load_stack([folder / "transform.zarr"]).transforms) == 2
    pair = ROOT / "assets" / "test"
    coarse = json.loads((folder / "affine.json").read_text())
    assert (coarse["fixed"], coarse["moving"]) == (f"{pair}/fixed.n5/s1", f"{pair}/moving.n5/s1")
    inputs = json.loads((folder / "transform.blocks.json").read_text())["run"]["inputs"]
    assert inputs["moving"]["uri"] == f"{pair}/moving.n5/s0"
    assert inputs["initial_transforms"] == ["test/affine.mat"]
