"""A pair with tasks and workers in containers of the image: the bytes are those of this machine's own commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from nextflow.runs import Run, nextflow
from nextflow.small_rounds import assert_the_same
from schedulers.slurm import Slurm
from schedulers.test_same_bytes import QUICK

from .podman import Image

pytestmark = [pytest.mark.nextflow, pytest.mark.slow, pytest.mark.timeout(1800)]


def scripts(done: Run) -> list[str]:
    """What Nextflow wrote to run each task."""
    return [path.read_text() for path in (done.folder / "work").glob("*/*/.command.run")]


def assert_in_containers(done: Run, command: str, *, workers: int) -> None:
    """Each task was in a container, workers were, too, and ps, which measures tasks, is in the image."""
    assert len(scripts(done)) == len(done.trace)
    assert all(command in script for script in scripts(done))
    assert done.tasks("DASK_WORKER") >= workers
    assert all(row["peak_rss"].endswith("B") for row in done.trace)


def test_containers_of_podman_give_the_bytes_of_the_machine(
    image: Image, small_rounds: list[str], digests_alone: dict[str, str], tmp_path: Path
) -> None:
    options = ["-profile", "podman", "-c", str(QUICK), "--container", image.name]
    done = nextflow(tmp_path, *small_rounds, *options, timeout=1200, **image.environ)
    assert_the_same(done, digests_alone)
    assert_in_containers(done, "podman run", workers=0)


def test_containers_of_podman_in_jobs_of_slurm_give_the_bytes_of_the_machine(
    image: Image, slurm: Slurm, small_rounds: list[str], digests_alone: dict[str, str], tmp_path: Path
) -> None:
    """Workers join their drivers with the credentials that only the user of the run can read."""
    options = ["-profile", "slurm,podman", "-c", str(QUICK), "--container", image.name]
    done = nextflow(tmp_path, *small_rounds, *options, timeout=1200, **slurm.environ, **image.environ)
    assert_the_same(done, digests_alone)
    assert_in_containers(done, "podman run", workers=3)
    slurm.wait_until_empty()
    assert slurm.processes() == []
