"""Longer scenarios, on Slurm, Grid Engine and shims of LSF and PBS, beside the suite for the time that they take:

python -m pytest tests/schedulers/disturbances.py
"""

from __future__ import annotations

import shlex
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from nextflow.runs import Run, read_trace

from .fake import Fake
from .heads import Head
from .shims import Shims
from .slurm import Slurm, missing_for_slurm, running_slurm, wait_until
from .test_scenarios import assert_done, run, sizes

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
    blocks = 40

    def disturb() -> None:
        wait_until(lambda: has_worker(slurm), 400)
        take_place_of_a_worker(slurm)
        wait_until(lambda: {"143", "140"} <= worker_codes(tmp_path), 400)
        wait_until(lambda: len(finished(tmp_path)) > blocks - 3, 400)
        slurm.stop_controller()
        wait_until(lambda: "Unable to contact slurm controller" in (tmp_path / ".nextflow.log").read_text(), 400)
        time.sleep(10)  # and again
        slurm.start_controller()

    before = {row["JobId"] for row in slurm.ended()}
    config = "process { withLabel: dask_worker { time = 1.m } }"  # Nextflow has it warned 30 s before
    options = ["--worker_queue", "spot"]
    done = disturbed(slurm, disturb, lambda: run(slurm, fake, tmp_path, *options, config=config, blocks=blocks))
    assert_done(done)
    assert {memory for memory, _ in sizes(done, "DASK_WORKER")} == {"1024M"}
    workers = [row for row in slurm.ended() if row["JobId"] not in before and "DASK_WORKER" in row["Name"]]
    assert "PREEMPTED" in {row["JobState"] for row in workers}
    assert {row["Partition"] for row in workers} == {"spot"}


def take_place_of_a_worker(slurm: Slurm) -> None:
    """Have a short job wait for so many cores of a worker's node that the worker has to go."""
    running = [job for job in slurm.queue() if job.state == "RUNNING"]
    node = next(job.node for job in running if job.partition == "spot")
    kept = sum(job.node == node and job.partition == "normal" for job in running)
    size = ["--mem=100", f"--cpus-per-task={2 - kept}", f"--nodelist={node}"]
    slurm.call("sbatch", "--output=/dev/null", *size, "--wrap=sleep 1")


def worker_codes(folder: Path) -> set[str]:
    """How workers have ended."""
    return {row["exit"] for row in read_trace(folder / "trace.txt") if row["process"].endswith("DASK_WORKER")}


def finished(folder: Path) -> list[Path]:
    """The records of aligned blocks."""
    return list(folder.glob("work/dask/*/local-pair/blocks/records/align/0/*.json"))


def test_one_slot_is_enough(fake: Fake, tmp_path: Path) -> None:
    if (missing := missing_for_slurm()) is not None:
        pytest.skip(missing)
    with running_slurm(nodes=1, cpus=1) as slurm:
        done = run(slurm, fake, tmp_path, blocks=2)
        assert_done(done)
        assert {row["status"] for row in done.trace} == {"COMPLETED"}


def test_a_head_of_grid_engine_that_is_deleted_takes_its_jobs_with_it(
    grid_engine: dict[str, str], fake: Fake, tmp_path: Path
) -> None:
    head = Head(tmp_path, fake, "sge", grid_engine)
    number = head.call("qsub", "-terse", "configs/batch/head.qsub", *head.options).strip()
    wait_until(lambda: head.call("qstat").count(" nf-") == 3, 400, head.log)  # a driver and two workers
    head.call("qdel", number)
    wait_until(lambda: not head.call("qstat"), 400, head.log)
    head.call("qsub", "configs/batch/head.qsub", *head.options)
    wait_until(lambda: not head.call("qstat"), 400, head.log)
    assert_done(head.run())
    assert head.run().tasks("GLOBAL_ALIGN", "CACHED") == 1


@pytest.mark.parametrize("kind", ["lsf", "pbs", "pbspro"])
def test_heads_of_shims(kind: str, slurm: Slurm, fake: Fake, tmp_path: Path) -> None:
    shims = Shims.made(kind, tmp_path)
    environ = slurm.environ | shims.environ(fake.environ()["PATH"])
    head = Head(tmp_path, fake, kind, environ)
    options = shlex.join(head.options)
    if kind == "lsf":
        head.call("bsub", INPUT="configs/batch/head.bsub", TERALIGN_OPTIONS=options)
    else:
        head.call("qsub", "-v", f"PATH,NXF_HOME,FAKE_TERALIGN,TERALIGN_OPTIONS={options}", "configs/batch/head.pbs")
    slurm.wait_until_empty(400)
    assert_done(head.run())
    assert {row["status"] for row in head.run().trace} == {"COMPLETED"}
