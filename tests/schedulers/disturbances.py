"""Longer scenarios, on Slurm and on Grid Engine, beside the suite for the time that they take:

python -m pytest tests/schedulers/disturbances.py
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nextflow.runs import Run, nextflow

from .fake import Fake
from .grid_engine import missing_for_grid_engine, running_grid_engine
from .slurm import Slurm, missing_for_slurm, running_slurm, wait_until
from .test_scenarios import QUICK, SIZES, SMALL, assert_done, run, sizes

pytestmark = [pytest.mark.nextflow, pytest.mark.slow, pytest.mark.timeout(900)]


def disturbed(slurm: Slurm, disturb: Callable[[], None], start: Callable[[], Run]) -> Run:
    """Run with a disturbance that has its own time beside it."""
    beside = threading.Thread(target=disturb)
    beside.start()
    try:
        return start()
    finally:
        beside.join()


def has_worker(slurm: Slurm) -> bool:
    return any("DASK_WORKER" in job.name and job.state == "RUNNING" for job in slurm.queue())


def test_a_run_goes_on_without_its_workers_and_without_a_controller(slurm: Slurm, fake: Fake, tmp_path: Path) -> None:
    """Workers are preempted and reach their time limit; the controller is away while jobs are due."""

    def disturb() -> None:
        wait_until(lambda: has_worker(slurm), 400)
        slurm.call("sbatch", "--output=/dev/null", "--nodes=3", "--ntasks-per-node=1", "--mem=5000", "--wrap=sleep 1")
        wait_until(lambda: any(row["JobState"] == "PREEMPTED" for row in slurm.ended()), 120)
        wait_until(lambda: any(row["JobState"] == "TIMEOUT" for row in slurm.ended()), 400)
        wait_until(lambda: driver_is_done(tmp_path), 400)
        slurm.stop_controller()
        time.sleep(20)  # more than the jobs that follow would wait by themselves
        slurm.start_controller()

    before = {row["JobId"] for row in slurm.ended()}
    config = "process { withLabel: dask_worker { time = 15.s } }"
    options = ["--worker_queue", "spot"]
    done = disturbed(slurm, disturb, lambda: run(slurm, fake, tmp_path, *options, config=config, blocks=30))
    assert_done(done)
    assert {memory for memory, _ in sizes(done, "DASK_WORKER")} == {"1024M"}
    ended = [row for row in slurm.ended() if row["JobId"] not in before]
    states = {row["JobState"] for row in ended if "DASK_WORKER" in row["Name"]}
    assert states >= {"PREEMPTED", "TIMEOUT"}
    assert {row["Partition"] for row in ended if "DASK_WORKER" in row["Name"]} == {"spot"}


def driver_is_done(folder: Path) -> bool:
    return bool(list(folder.glob("work/dask/*/local-pair/terminate")))


def test_workers_that_never_start_keep_no_run_open(slurm: Slurm, fake: Fake, tmp_path: Path) -> None:
    config = "process { withLabel: dask_worker { clusterOptions = '--begin=now+3600'; maxSubmitAwait = 15.s } }"
    done = run(slurm, fake, tmp_path, config=config)
    assert_done(done)
    slurm.wait_until_empty()


def test_one_slot_is_enough(fake: Fake, tmp_path: Path) -> None:
    if (missing := missing_for_slurm()) is not None:
        pytest.skip(missing)
    with running_slurm(nodes=1, cpus=1) as slurm:
        done = run(slurm, fake, tmp_path, blocks=2)
        assert_done(done)
        assert {row["status"] for row in done.trace} == {"COMPLETED"}


@pytest.fixture(scope="module")
def grid_engine() -> Iterator[dict[str, str]]:
    """A Grid Engine, as what its commands need in their environment."""
    if (missing := missing_for_grid_engine()) is not None:
        pytest.skip(missing)
    with running_grid_engine() as environ:
        yield environ


def test_workers_join_and_nothing_is_refused(grid_engine: dict[str, str], fake: Fake, tmp_path: Path) -> None:
    options = [*fake.pair, "-profile", "sge", "-c", str(QUICK), *SIZES, *SMALL]
    done = nextflow(tmp_path, *options, **(fake.environ(blocks=8) | grid_engine))
    assert done.returncode == 0, done.output
    assert {row["status"] for row in done.trace} == {"COMPLETED"}
    assert done.tasks("DASK_WORKER") >= 2
