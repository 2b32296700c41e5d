"""Workers are sized to what the task was given, not to the machine."""

from __future__ import annotations

import os
import subprocess
import sys

import psutil
import pytest

from teralign.cluster.machine import (
    GB,
    ControlGroups,
    WorkerSize,
    available_cores,
    available_memory,
    fit_workers,
    share_out,
    worker_threads,
)


@pytest.fixture
def groups(tmp_path):
    """A function that writes control groups as files, with this process's place in them, and returns both."""

    def make(line: str, **files: str) -> ControlGroups:
        made = ControlGroups(tmp_path / "membership", tmp_path / "cgroup")
        made.membership.write_text(line + "\n")
        for name, text in files.items():
            path = made.root / name.replace("__", "/").replace("-", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text + "\n")
        return made

    return make


def test_without_limits_it_is_the_affinity_and_what_is_free(groups):
    here = groups("0::/", **{"cpu-max": "max 100000", "memory-max": "max"})
    assert available_cores(here) == len(os.sched_getaffinity(0))
    assert available_memory(here) == pytest.approx(psutil.virtual_memory().available, rel=0.1)


def test_version_2_limits_of_the_job_or_anything_around_it_count(groups):
    files = {"slurm__job_7__memory-max": str(2 * GB), "slurm__cpu-max": "150000 100000"}
    here = groups("0::/slurm/job_7/step_0", **files)
    assert available_memory(here) == 2 * GB
    assert available_cores(here) == 1


def test_version_1_limits_count(groups):
    here = groups(
        "5:cpu,cpuacct:/docker/abc\n4:memory:/docker/abc",
        **{
            "memory__docker__abc__memory-limit_in_bytes": str(3 * GB),
            "cpu__docker__abc__cpu-cfs_quota_us": "100000",
            "cpu__docker__abc__cpu-cfs_period_us": "100000",
        },
    )
    assert available_memory(here) == 3 * GB
    assert available_cores(here) == 1


def test_a_container_that_cannot_see_its_group_by_name_sees_it_at_the_root(groups):
    here = groups("0::/../../docker/abc", **{"memory-max": str(GB)})
    assert available_memory(here) == GB


@pytest.mark.parametrize(
    ("cores", "memory", "asked", "fits"),
    [
        (16, 128, (None, None, None), (16, 1, 7.2)),  # a core and its share for each
        (16, 20, (None, None, None), (4, 4, 4.5)),  # memory is short: fewer workers, more cores each
        (2, 3, (None, None, None), (1, 2, 2.7)),
        (16, 128, (None, 4, None), (4, 4, 28.8)),
        (16, 128, (None, None, 30), (3, 5, 30)),
        (16, 128, (3, None, None), (3, 5, 38.4)),
        (2, 8, (4, 2, 5), (4, 2, 5)),  # as asked, even if the machine has less
        (1, 1, (None, 8, None), (1, 8, 0.9)),
    ],
)
def test_workers_fill_what_there_is(cores, memory, asked, fits):
    count, size = share_out(cores, memory * GB, *asked)
    assert (count, size.cpus) == fits[:2]
    assert size.memory == pytest.approx(fits[2] * GB)


def test_workers_fill_this_machine():
    count, size = fit_workers()
    assert 1 <= count * size.cpus <= available_cores()


def test_a_size_reads_well():
    assert str(WorkerSize(1, 4 * GB)) == "1 cpu, 4.0 GB"
    assert str(WorkerSize(3, 0)) == "3 cpus"


def test_threads_are_those_of_the_worker(monkeypatch):
    monkeypatch.setenv("TERALIGN_THREADS", "3")
    assert worker_threads() == 3
    monkeypatch.delenv("TERALIGN_THREADS")
    assert worker_threads() == available_cores()


def test_a_scheduler_may_have_as_many_connections_as_the_machine_allows():
    code = """
import resource
from teralign.cluster.machine import allow_connections
most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (100, most))
allow_connections()
assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == most > 100
"""
    subprocess.run([sys.executable, "-c", code], check=True)
