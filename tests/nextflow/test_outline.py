"""The whole graph of tasks, with stubs in place of the work."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from .runs import ROOT, environment, nextflow

pytestmark = pytest.mark.nextflow

SHEET = """id,fixed,moving,fixed_mask,moving_channel,apply_to
first,fix.n5,mov.n5,image.zarr/s2,1,mov.n5/c1; image.ome.tif
second,fix.n5/c1,mov.n5/c1,,,
"""


@pytest.mark.parametrize("parser", ["v1", "v2"])
def test_results_of_each_pair_lie_in_its_folder(volumes: Path, parser: str) -> None:
    (volumes / "sheet.csv").write_text(SHEET)
    options = ["--input", "sheet.csv", "-stub-run", "-profile", "demo", "--use_bigstream"]
    reports = ["-with-report", "-with-timeline", "-with-dag"]
    run = nextflow(volumes, *options, "--bigstream_cluster", "nextflow", *reports, parser=parser)

    assert run.returncode == 0, run.output
    assert {name: run.tasks(name) for name in ("GLOBAL_ALIGN", "LOCAL_ALIGN", "APPLY_TRANSFORM", "REPORT")} == {
        "GLOBAL_ALIGN": 2,
        "LOCAL_ALIGN": 2,
        "APPLY_TRANSFORM": 4,
        "REPORT": 2,
    }
    shared = {
        "affine.mat",
        "affine.json",
        "aligned.zarr",
        "transform.zarr",
        "transform.blocks.json",
        "report",
        "warped.zarr",
    }
    results = volumes / "results"
    assert {path.name for path in (results / "second").iterdir()} == shared
    assert {path.name for path in (results / "first").iterdir()} == shared | {
        "warped_1_mov.zarr",
        "warped_2_image.zarr",
    }
    versions = (results / "pipeline_info" / "versions.txt").read_text()
    assert "LOCAL_ALIGN: teralign 0." in versions

    assert {path.name for path in (results / "pipeline_info").iterdir()} >= {
        "report.html",
        "timeline.html",
        "dag.html",
    }

    commands = {row["name"]: row["hash"] for row in run.trace}
    script = next((volumes / "work").glob(f"{commands['REGISTER:LOCAL_ALIGN (first)']}*/.command.run")).read_text()
    assert "fixed_mask/image.zarr" in script, "a mask is staged like the volumes"


def test_resume_notices_what_changed_and_nothing_else(volumes: Path) -> None:
    options = ["--fixed", "fix.n5", "--moving", "mov.n5", "-stub-run", "-profile", "demo", "--use_bigstream"]
    assert nextflow(volumes, *options).returncode == 0

    again = nextflow(volumes, *options, "-resume", "--bigstream_cluster", "nextflow", "--bigstream_workers", "5")
    assert {row["status"] for row in again.trace} == {"CACHED"}, "a cluster of another size is no other result"

    (volumes / "mov.n5" / "s2" / "7").mkdir()
    again = nextflow(volumes, *options, "-resume")
    states = {row["process"].rpartition(":")[2]: row["status"] for row in again.trace}
    assert states["GLOBAL_ALIGN"] == "CACHED", "it reads another scale"
    assert states["LOCAL_ALIGN"] == states["APPLY_TRANSFORM"] == "COMPLETED"

    attributes = volumes / "fix.n5" / "s3" / "attributes.json"
    attributes.write_text(json.dumps({"dimensions": [4, 4, 4], "pixelResolution": [1, 1, 2]}))
    again = nextflow(volumes, *options, "-resume")
    assert {row["process"].rpartition(":")[2] for row in again.trace if row["status"] == "COMPLETED"} >= {
        "GLOBAL_ALIGN"
    }


def test_the_scripts_pass_the_strict_parser() -> None:
    done = subprocess.run(
        [str(ROOT / "bin" / "nextflow"), "lint", "main.nf", "nextflow.config", "modules", "subworkflows", "configs"],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_nextflow_is_fetched_once_by_processes_that_race(tmp_path: Path) -> None:
    """Two first calls at a time in a fresh checkout leave one complete set of jars."""
    for part in ("bin/nextflow", "configs/nextflow/pom.xml", "configs/nextflow/fetch.py"):
        (tmp_path / part).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / part, tmp_path / part)
    calls = [
        subprocess.Popen(
            [tmp_path / "bin" / "nextflow", "-version"], env=environment(), stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    for call in calls:
        output, _ = call.communicate(timeout=300)
        assert call.returncode == 0
        assert "version 2" in output
    left = [path for path in (tmp_path / ".nextflow-dist").iterdir() if not path.is_symlink()]
    assert len(left) == 1
