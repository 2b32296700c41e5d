"""The demo of tiles as a user runs it: one command, and the errors of positions and alignment on its last line."""

from __future__ import annotations

import json
import os

import pytest

from teralign.volumes import open_volume

from .runs import ROOT, run_watched


@pytest.mark.nextflow
@pytest.mark.slow
def test_stitched_rounds_are_aligned_as_well_as_whole_ones(tmp_path):
    command = [ROOT / "bin" / "demo-tiles", tmp_path, "--shape", "144,128,112"]
    done = run_watched(command, tmp_path, os.environ, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    score = json.loads(done.stdout.splitlines()[-1])
    for name in ("fixed", "moving"):
        assert score[name]["stage_error"]["median"] > 1
        assert score[name]["solved_error"]["median"] < 0.15
        assert score[name]["solved_error"]["largest"] < 0.6
    assert score["tre_um_stitched"]["median"] < 1.2 * score["tre_um_whole"]["median"]
    for day in ("day1", "day2"):
        report = json.loads((tmp_path / "results" / day / "stitching" / "report.json").read_text())
        assert report["verdict"] == "good" and not report["removed"]
        assert open_volume(tmp_path / "results" / day / "stitched.zarr/s0").grid.shape[0] >= 110
    assert (tmp_path / "results" / "day2" / "report" / "index.html").exists()
