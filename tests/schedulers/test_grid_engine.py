"""Runs on a real Grid Engine, whose jobs inherit no environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from nextflow.runs import nextflow

from .fake import Fake
from .test_scenarios import QUICK, SIZES, SMALL

pytestmark = [pytest.mark.nextflow, pytest.mark.slow, pytest.mark.timeout(900)]


def test_workers_join_and_nothing_is_refused(grid_engine: dict[str, str], fake: Fake, tmp_path: Path) -> None:
    options = [*fake.pair, "-profile", "sge", "-c", str(QUICK), *SIZES, *SMALL]
    done = nextflow(tmp_path, *options, **(fake.environ(blocks=8) | grid_engine))
    assert done.returncode == 0, done.output
    assert {row["status"] for row in done.trace} == {"COMPLETED"}
    assert done.tasks("DASK_WORKER") >= 2
