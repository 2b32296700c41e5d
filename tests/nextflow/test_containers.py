"""The demo's data in the image of the Dockerfile, where podman and that image are there; nothing is built here."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from teralign.tasks.demo_score import demo_score

from .runs import demo_pair, nextflow

IMAGE = "localhost/teralign:0.1.0"


@pytest.fixture(scope="module")
def image() -> str:
    """The image, where containers of it can be had."""
    if shutil.which("podman") is None:
        pytest.skip("podman is not here")
    command = ["podman", "run", "--rm", "--pull", "never", "--network", "host", IMAGE, "true"]
    tried = subprocess.run(command, capture_output=True, text=True)
    if tried.returncode:
        pytest.skip(f"podman runs no container of {IMAGE}: {tried.stderr.strip()}")
    return IMAGE


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's two rounds, smaller, in a folder that is not that of the run."""
    return demo_pair(tmp_path_factory.mktemp("rounds"), "96,96,80", seed=1)


@pytest.mark.nextflow
@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("cluster", ["local", "nextflow"])
def test_the_demo_data_are_aligned_in_containers(image: str, data: Path, tmp_path: Path, cluster: str) -> None:
    run = nextflow(
        tmp_path,
        *("-profile", "demo,podman", "--container", image, "--id", "demo", "--aff_scale", "s1", "--def_scale", "s0"),
        *("--fixed", str(data / "fixed.n5"), "--moving", str(data / "moving.n5")),
        *("--use_bigstream", "--bigstream_cluster", cluster, "--bigstream_workers", "2"),
    )

    assert run.returncode == 0, run.output
    scripts = [path.read_text() for path in (tmp_path / "work").glob("*/*/.command.run")]
    assert len(scripts) == len(run.trace)
    assert all("podman run" in script for script in scripts)
    # No worker was refused; ps, which measures tasks, is in the image.
    assert run.tasks("DASK_WORKER") in (range(2, 5) if cluster == "nextflow" else range(1))
    assert run.tasks("DASK_WORKER", "FAILED") == 0
    assert all(row["peak_rss"].endswith("B") for row in run.trace)

    errors = demo_score(data, tmp_path / "results" / "demo")
    assert errors.tre_um_after.median < 0.5 < errors.tre_um_global.median < 5
