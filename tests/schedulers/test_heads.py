"""The head of a run as a job of Slurm, which is cancelled and submitted again."""

from __future__ import annotations

from pathlib import Path

import pytest

from .fake import Fake
from .heads import Head
from .slurm import Slurm, wait_until
from .test_scenarios import assert_done

pytestmark = [pytest.mark.nextflow, pytest.mark.slow, pytest.mark.timeout(900)]


def test_a_head_that_is_cancelled_takes_its_jobs_with_it_and_goes_on_later(
    slurm: Slurm, fake: Fake, tmp_path: Path
) -> None:
    head = Head(tmp_path, fake, "slurm", slurm.environ)
    number = head.call("sbatch", "--parsable", "configs/batch/head.sbatch", *head.options).strip()
    wait_until(lambda: sum("DASK_WORKER" in job.name for job in slurm.queue()) == 2, 400, head.log)
    assert f"To end this run and all its jobs: scancel {number}" in head.log()
    slurm.call("scancel", number)
    slurm.wait_until_empty()
    again = head.call("sbatch", "--parsable", "configs/batch/head.sbatch", *head.options).strip()
    slurm.wait_until_empty(400)
    assert_done(head.run())
    assert head.run().tasks("GLOBAL_ALIGN", "CACHED") == 1
    assert {row["status"] for row in head.run().trace} == {"CACHED", "COMPLETED"}
    assert {row["JobId"]: row["JobState"] for row in slurm.ended()}[again] == "COMPLETED"
