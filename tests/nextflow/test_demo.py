"""The demo as a user runs it: one command, pictures, metrics, and the errors on its last line."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from teralign.volumes import open_volume

from .runs import ROOT, run_watched


@pytest.mark.nextflow
@pytest.mark.slow
def test_the_demo_ends_with_errors_below_half_a_voxel(tmp_path):
    command = [ROOT / "bin" / "demo", tmp_path, "--shape", "144,128,112"]
    done = run_watched(command, tmp_path, os.environ, timeout=580)
    assert done.returncode == 0, done.stdout + done.stderr
    score = json.loads(done.stdout.splitlines()[-1])
    voxel = min(open_volume(tmp_path / "data" / "fixed.n5" / "s0").grid.spacing)
    assert score["tre_um_before"]["median"] > 10 * voxel
    assert score["tre_um_global"]["median"] < score["tre_um_before"]["median"] / 3
    assert score["tre_um_after"]["median"] < 0.5 * voxel
    assert score["tre_um_after"]["p95"] < 1.5 * voxel
    results = Path(score["outdir"])
    assert (results / "report" / "overlay.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((results / "transform.blocks.json").read_text())["folded_share"] == 0
    assert open_volume(results / "warped.zarr").grid.shape == open_volume(tmp_path / "data/fixed.n5/s0").grid.shape
    tasks = (tmp_path / "results" / "pipeline_info" / "trace.txt").read_text()
    assert "DASK_WORKER" in tasks
