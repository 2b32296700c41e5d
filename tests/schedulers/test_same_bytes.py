"""A pair through real schedulers, workers as jobs of their own: the bytes are those of a run without a scheduler."""

from __future__ import annotations

from pathlib import Path

import pytest

from nextflow.runs import Run, nextflow
from nextflow.small_rounds import assert_stitched_the_same, assert_the_same

from .slurm import Slurm

pytestmark = [pytest.mark.nextflow, pytest.mark.slow, pytest.mark.timeout(900)]

QUICK = Path(__file__).with_name("quick.config")


def test_three_nodes_of_slurm_give_the_bytes_of_one_machine(
    slurm: Slurm, small_rounds: list[str], digests_alone: dict[str, str], tmp_path: Path
) -> None:
    before = len(slurm.ended())
    done = nextflow(tmp_path, *small_rounds, "-profile", "slurm", "-c", str(QUICK), **slurm.environ)
    assert_the_same(done, digests_alone)
    assert done.tasks("DASK_WORKER") >= 3, "workers were jobs"
    slurm.wait_until_empty()
    workers = [job for job in slurm.ended()[before:] if "DASK_WORKER" in job["Name"]]
    assert len({job["NodeList"] for job in workers}) > 1, "workers ran on more than one node"
    assert slurm.processes() == []


def test_tiles_are_stitched_on_slurm_to_the_bytes_of_one_machine(
    slurm: Slurm, small_tiles: list[str], stitched_alone: Run, tmp_path: Path
) -> None:
    done = nextflow(tmp_path, *small_tiles, "-profile", "slurm", "-c", str(QUICK), **slurm.environ)
    assert_stitched_the_same(done, stitched_alone)
    slurm.wait_until_empty()
    assert slurm.processes() == []


def test_grid_engine_gives_the_bytes_of_one_machine(
    grid_engine: dict[str, str], small_rounds: list[str], digests_alone: dict[str, str], tmp_path: Path
) -> None:
    done = nextflow(tmp_path, *small_rounds, "-profile", "sge", "-c", str(QUICK), **grid_engine)
    assert_the_same(done, digests_alone)
    assert done.tasks("DASK_WORKER") >= 3, "workers were jobs"
