"""What a scheduler refuses, kills or forgets: each run goes on, or ends with its sentence; none waits for ever."""

from __future__ import annotations

import getpass
import re
import threading
from pathlib import Path

import pytest

from nextflow.runs import Run, nextflow

from .fake import Fake
from .slurm import Slurm, wait_until

pytestmark = [pytest.mark.nextflow, pytest.mark.slow, pytest.mark.timeout(900)]

QUICK = Path(__file__).with_name("quick.config")
SIZES = ["--use_bigstream", "--bigstream_workers", "2", "--bigstream_worker_mem_gb", "1"]
SMALL = ["--bigstream_global_align_cpus", "1", "--bigstream_global_align_mem_gb", "1"]
ON_SLURM = ["-profile", "slurm", "-c", str(QUICK), *SIZES, *SMALL]


def run(
    slurm: Slurm, fake: Fake, folder: Path, *options: str, config: str = "", blocks: int = 6, **environ: str
) -> Run:
    """Run the workflow with fake commands in jobs of Slurm."""
    (folder / "more.config").write_text(config)
    more = ["-c", str(folder / "more.config"), *options]
    environ = fake.environ(blocks=blocks) | slurm.environ | environ
    return nextflow(folder, *fake.pair, *ON_SLURM, *more, timeout=500, **environ)


def assert_done(done: Run) -> None:
    assert done.returncode == 0, done.output
    assert (done.folder / "results" / "pair" / "warped.zarr").exists()


@pytest.mark.parametrize(
    ("setting", "answer"),
    [("memory = 100.GB", "sbatch: error: "), ("queue = 'shrt'", "invalid partition specified: shrt")],
)
def test_a_refused_worker_ends_the_run_with_the_answer_of_the_scheduler(
    slurm: Slurm, fake: Fake, tmp_path: Path, setting: str, answer: str
) -> None:
    done = run(slurm, fake, tmp_path, config=f"process {{ withLabel: dask_worker {{ {setting} }} }}", blocks=60)
    assert done.returncode == 1
    assert "The scheduler takes no worker" in done.output
    assert answer in done.output
    slurm.wait_until_empty()


def test_a_retry_asks_for_more_of_what_ran_out_and_for_no_more_than_allowed(
    slurm: Slurm, fake: Fake, tmp_path: Path
) -> None:
    """In jobs that inherit no environment."""
    fails = f"env {{ FAKE_NOTES = '{tmp_path}/notes'; FAKE_CODES = '137 140' }}"
    limits = ["--max_memory", "1.5GB", "--max_time", "20.h"]
    done = run(slurm, fake, tmp_path, *limits, config=fails, SBATCH_EXPORT="NONE")
    assert_done(done)
    assert sizes(done, "GLOBAL_ALIGN") == [("1024M", "12:00:00"), ("1536M", "12:00:00"), ("1536M", "20:00:00")]
    assert sizes(done, "LOCAL_ALIGN") == [("1536M", "12:00:00")]
    assert set(sizes(done, "DASK_WORKER")) == {("1024M", "04:00:00")}


def test_jobs_that_are_cancelled_together_do_not_come_back(slurm: Slurm, fake: Fake, tmp_path: Path) -> None:
    """As by scancel --user: the run ends, although jobs that are killed or preempted are submitted again."""

    def cancel() -> None:
        wait_until(lambda: sum(job.state == "RUNNING" for job in slurm.queue()) == 3, 400)  # a driver and two workers
        slurm.call("scancel", f"--user={getpass.getuser()}")

    beside = threading.Thread(target=cancel)
    beside.start()
    done = run(slurm, fake, tmp_path, blocks=60)
    beside.join()
    assert done.returncode == 1
    assert [row["exit"] for row in done.trace if row["process"].endswith("LOCAL_ALIGN")] == ["143"]
    slurm.wait_until_empty()


def test_workers_that_never_start_keep_no_run_open(slurm: Slurm, fake: Fake, tmp_path: Path) -> None:
    config = "process { withLabel: dask_worker { clusterOptions = '--begin=now+3600'; maxSubmitAwait = 9.s } }"
    done = run(slurm, fake, tmp_path, config=config)
    assert_done(done)
    slurm.wait_until_empty()


def sizes(done: Run, process: str) -> list[tuple[str, str]]:
    """Memory and time that the jobs of a process asked for, in the order of their submission."""
    rows = sorted(
        (row for row in done.trace if row["process"].endswith(process)), key=lambda row: int(row["task_id"])
    )
    found = []
    for row in rows:
        (script,) = (done.folder / "work").glob(f"{row['hash']}*/.command.run")
        asked = dict(re.findall(r"^#SBATCH (--mem|-t) (\S+)$", script.read_text(), re.MULTILINE))
        found.append((asked["--mem"], asked["-t"]))
    return found
