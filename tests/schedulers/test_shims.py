"""LSF and PBS by shims, not by themselves: what the real Nextflow asks of bsub, bjobs, bkill, qsub, qstat and qdel.

The commands are `commands/shim`: they take what the manuals have and no more, and hand the jobs to a real Slurm.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from nextflow.runs import Run, nextflow

from .fake import Fake
from .shims import COMMANDS, Shims
from .slurm import Slurm
from .test_scenarios import QUICK, SMALL, assert_done

pytestmark = [pytest.mark.nextflow, pytest.mark.slow, pytest.mark.timeout(900)]

SIZES = ["--use_bigstream", "--bigstream_workers", "2", "--bigstream_worker_mem_gb", "1.5"]
CORES = ["--bigstream_worker_cpus", "2"]


def run(shims: Shims, slurm: Slurm, fake: Fake, *options: str, config: str = "") -> Run:
    """Run the workflow with fake commands in jobs of a shim."""
    (shims.folder / "more.config").write_text(config)
    environ = fake.environ() | slurm.environ
    environ |= shims.environ(environ["PATH"])
    settings = ["-profile", shims.kind, "-c", str(QUICK), "-c", str(shims.folder / "more.config")]
    return nextflow(shims.folder, *fake.pair, *settings, *SIZES, *SMALL, *options, timeout=400, **environ)


@pytest.mark.parametrize("kind", COMMANDS)
def test_workers_join_and_nothing_is_refused(kind: str, slurm: Slurm, fake: Fake, tmp_path: Path) -> None:
    shims = Shims.made(kind, tmp_path)
    site = ["--queue", "normal", "--worker_queue", "spot", "--account", "lab", "--max_time", "10.h"]
    done = run(shims, slurm, fake, *site, *CORES)
    assert_done(done)
    assert {row["status"] for row in done.trace} == {"COMPLETED"}
    submitting, asking, _ = COMMANDS[kind]
    assert not [call["refused"] for name in COMMANDS[kind] for call in shims.calls(name) if "refused" in call]
    assert len(shims.calls(submitting)) == len(done.trace)
    assert shims.calls(asking)

    def asked(process: str) -> tuple:
        (sizes,) = {tuple(job[key] for key in KEYS) for job in shims.jobs(process)}
        return sizes

    whole = kind == "pbs"  # whole GB
    assert asked("DASK_WORKER") == (2, 2048 if whole else 1536, 240, "spot", "lab")
    assert asked("LOCAL_ALIGN") == (2, 4096 if whole else 3584, 600, "normal", "lab")
    assert asked("GLOBAL_ALIGN") == (1, 1024, 600, "normal", "lab")
    joined = [line for log in tmp_path.glob("work/dask/*/*/log") for line in log.read_text().splitlines()]
    assert joined.count("joined 2" if whole else "joined 1.5") >= 2
    slurm.wait_until_empty()


KEYS = ("cores", "memory_mb", "minutes", "queue", "account")


@pytest.mark.parametrize("kind", ["lsf", "pbs"])
def test_a_refused_worker_ends_the_run_and_its_jobs(kind: str, slurm: Slurm, fake: Fake, tmp_path: Path) -> None:
    shims = Shims.made(kind, tmp_path)
    done = run(shims, slurm, fake, "--worker_queue", "shrt")
    assert done.returncode == 1
    assert "The scheduler takes no worker" in done.output
    assert "invalid partition specified: shrt" in done.output
    (ended,) = shims.calls(COMMANDS[kind][2])
    assert len(ended["arguments"]) == 1  # the driver, whose blocks were being computed
    slurm.wait_until_empty()


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        ("lsf", "-M 2048.5"),
        ("lsf", "-n 2"),
        ("lsf", "--mem 2"),
        ("pbs", "-l mem=3.5gb"),
        ("pbs", "-l select=1:ncpus=2"),
        ("pbs", "-N a_name_that_is_too_long"),
        ("pbspro", "-l select=1:ncpus=1:mem=1.5gb"),
        ("pbspro", "-t 1-2"),
    ],
)
def test_shims_are_strict(kind: str, arguments: str, tmp_path: Path) -> None:
    shims = Shims.made(kind, tmp_path)
    script = tmp_path / "script"
    script.write_text("#!/bin/bash\ntrue\n")
    command = [tmp_path / "shims" / COMMANDS[kind][0], *arguments.split(), *([] if kind == "lsf" else [script])]
    environ = os.environ | shims.environ(os.environ["PATH"])
    done = subprocess.run(command, env=environ, input=script.read_text(), capture_output=True, text=True)
    assert done.returncode == 1
    assert "illegal" in done.stderr or "several hosts" in done.stderr
