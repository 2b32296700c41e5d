"""The demo of tiles as a user runs it: one command, and the errors of the positions on its last line."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_tiles_of_the_demo_lie_within_a_tenth_of_a_voxel(tmp_path):
    command = [ROOT / "bin" / "demo-tiles", tmp_path, "--shape", "96,96,64"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, env=os.environ, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    score = json.loads(done.stdout.splitlines()[-1])
    for name in ("fixed", "moving"):
        assert score[name]["stage_error"]["median"] > 1
        assert score[name]["solved_error"]["median"] < 0.1
        assert score[name]["solved_error"]["largest"] < 0.4
        report = json.loads((tmp_path / f"{name}.report" / "report.json").read_text())
        assert report["verdict"] == "good" and not report["removed"]
        assert "<svg" in (tmp_path / f"{name}.report" / "index.html").read_text()
