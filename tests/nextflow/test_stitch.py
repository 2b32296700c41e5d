"""Tiles of a microscope to stitched volumes, and these onto one another, in one run."""

from __future__ import annotations

from pathlib import Path

import pytest

from .runs import nextflow

pytestmark = pytest.mark.nextflow

STITCHED = (
    *("IMPORT_TILES", "ESTIMATE_FLATFIELD", "ALIGN_TILES", "SOLVE_TILES", "BALANCE_TILES", "FUSE_TILES"),
    "REPORT_TILES",
)


@pytest.mark.parametrize("parser", ["v1", "v2"])
def test_results_of_each_round_lie_in_its_folder(tmp_path: Path, parser: str) -> None:
    (tmp_path / "tiles").mkdir()
    (tmp_path / "rounds.csv").write_text("id,tiles\none,tiles\ntwo,tiles\n")
    options = ["--workflow", "stitch", "--input", "rounds.csv", "-stub-run", "-profile", "demo", "--use_bigstream"]
    run = nextflow(tmp_path, *options, "--bigstream_cluster", "nextflow", parser=parser)
    assert run.returncode == 0, run.output
    assert {name: run.tasks(name) for name in STITCHED} == dict.fromkeys(STITCHED, 2)
    assert {path.name for path in (tmp_path / "results" / "two").iterdir()} == {
        *("tiles.json", "flatfield.npz", "pairs.json", "solved.json", "balanced.json", "stitched.zarr", "stitching"),
    }
    assert "one: unknown, error unknown, report results/one/stitching/index.html" in run.output


def test_corrections_are_left_out_where_they_are_not_wanted(tmp_path: Path) -> None:
    (tmp_path / "tiles").mkdir()
    options = ["--workflow", "stitch", "--tiles", "tiles", "--flatfield", "false", "--balance_tiles", "false"]
    run = nextflow(tmp_path, *options, "-stub-run", "-profile", "demo")
    assert run.returncode == 0, run.output
    assert run.tasks("FUSE_TILES") == 1
    assert run.tasks("ESTIMATE_FLATFIELD") == run.tasks("BALANCE_TILES") == 0
