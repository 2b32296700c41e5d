"""The Slurm of the tests is a real one: nodes, memory limits, preemption, a controller that goes and comes back."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from .slurm import Slurm, missing_for_slurm, running_slurm, wait_until


def submit(slurm: Slurm, folder: Path, *options: str, command: str) -> int:
    """Submit a job; its output goes to `folder`."""
    where = ["--parsable", "--no-requeue", "--output", str(folder / "%j.out"), "--chdir", str(folder)]
    return int(slurm.call("sbatch", *where, *options, "--wrap", command))


def state(slurm: Slurm, job: int) -> str:
    """How a job ended, or an empty text."""
    return next((row["JobState"] for row in slurm.ended() if row["JobId"] == str(job)), "")


def test_jobs_run_on_all_nodes(slurm: Slurm, tmp_path: Path) -> None:
    jobs = [submit(slurm, tmp_path, "--cpus-per-task=2", command="echo $SLURMD_NODENAME; sleep 2") for _ in range(3)]
    slurm.wait_until_empty()
    assert {(tmp_path / f"{job}.out").read_text().strip() for job in jobs} == set(slurm.nodes)
    assert {state(slurm, job) for job in jobs} == {"COMPLETED"}


def test_a_job_that_takes_more_memory_than_it_asked_for_is_killed(slurm: Slurm, tmp_path: Path) -> None:
    if not slurm.memory_is_limited:
        pytest.skip("memory is limited for root with cgroups v1 only")
    hungry = """python3 -c 'x = b"x" * (600 << 20)'"""
    killed = submit(slurm, tmp_path, "--mem=100M", command=hungry)
    fits = submit(slurm, tmp_path, "--mem=1000M", command=hungry)
    slurm.wait_until_empty()
    assert state(slurm, killed) == "OUT_OF_MEMORY"
    assert state(slurm, fits) == "COMPLETED"


def test_jobs_of_the_spot_partition_make_room(slurm: Slurm, tmp_path: Path) -> None:
    spot = [submit(slurm, tmp_path, "--partition=spot", "--cpus-per-task=2", command="sleep 600") for _ in range(3)]
    wait_until(lambda: {job.state for job in slurm.queue()} == {"RUNNING"}, 30)
    submit(slurm, tmp_path, "--partition=normal", "--cpus-per-task=2", command="true")
    wait_until(lambda: any(state(slurm, job) == "PREEMPTED" for job in spot), 60)
    slurm.call("scancel", *map(str, spot))
    slurm.wait_until_empty()


def test_jobs_go_on_while_the_controller_is_away(slurm: Slurm, tmp_path: Path) -> None:
    job = submit(slurm, tmp_path, command="sleep 2; echo done")
    wait_until(lambda: [one.state for one in slurm.queue()] == ["RUNNING"], 30)
    slurm.stop_controller()
    with pytest.raises(RuntimeError, match="Unable to contact slurm controller"):
        submit(slurm, tmp_path, command="true")
    wait_until(lambda: (tmp_path / f"{job}.out").read_text() == "done\n", 30)
    slurm.start_controller()
    wait_until(lambda: state(slurm, job) == "COMPLETED", 60)


def test_a_node_that_dies_takes_its_jobs_with_it_and_comes_back(slurm: Slurm, tmp_path: Path) -> None:
    node = slurm.nodes[-1]
    submit(slurm, tmp_path, f"--nodelist={node}", command="sleep 612")
    wait_until(lambda: any(process.cmdline() == ["sleep", "612"] for process in slurm.processes()), 30)
    slurm.kill_node(node)
    assert not any(process.cmdline() == ["sleep", "612"] for process in slurm.processes())
    slurm.start_node(node)
    slurm.wait_until_empty()
    job = submit(slurm, tmp_path, f"--nodelist={node}", command="true")
    wait_until(lambda: state(slurm, job) == "COMPLETED", 30)


def test_nothing_is_left_of_a_slurm_that_has_ended(tmp_path: Path) -> None:
    if (missing := missing_for_slurm()) is not None:
        pytest.skip(missing)
    with running_slurm(nodes=1) as slurm:
        submit(slurm, tmp_path, command="sleep 613")
        wait_until(lambda: any(process.cmdline() == ["sleep", "613"] for process in slurm.processes()), 30)
        folder = slurm.folder
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, env=os.environ).stdout
    assert str(folder) not in listed
    assert "sleep 613" not in listed
    assert not folder.exists()
    assert not list(Path("/sys/fs/cgroup").glob(f"*/slurm_{slurm.nodes[0]}"))
