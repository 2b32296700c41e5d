"""The three commands, as users, Nextflow and batch systems treat them."""

from __future__ import annotations

import json
import re
import signal
import sys
import time
from pathlib import Path

import pytest
from processes import wait_until

JOB = Path(__file__).with_name("job.py")
RUN_ON_DASK = Path(__file__).parents[2] / "bin" / "run-on-dask"
SMALL = ("--worker-cpus", 1, "--worker-mem-gb", 1)


def folder_of(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir(exist_ok=True)
    return folder


def driver(processes, directory, *command, options=()):
    return processes.start("start-dask-scheduler", "--dir", directory, *SMALL, *options, "--", *command)


def job(tmp_path, count, seconds, *killer):
    return sys.executable, JOB, folder_of(tmp_path), count, seconds, *killer


def calls(tmp_path) -> dict[str, int]:
    return {p.name: p.stat().st_size for p in folder_of(tmp_path).glob("calls-*")}


def results(tmp_path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder_of(tmp_path).glob("result-*")}


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "dir"


def test_a_command_gives_its_exit_code_and_leaves_the_directory_for_what_comes(processes, directory):
    directory.mkdir()
    (directory / "terminate").touch()
    (directory / "scheduler.json").write_text('{"address": "tcp://127.0.0.1:9", "id": "old"}')

    failing = driver(processes, directory, "sh", "-c", f'cp "$TERALIGN_SCHEDULER" {directory}/seen; exit 7')
    assert failing.wait(120) == 7
    assert not (directory / "terminate").exists()
    assert not (directory / "scheduler.json").exists()
    seen = json.loads((directory / "seen").read_text())
    assert seen["pid"] == failing.pid
    assert seen["address"].startswith("tls://")

    last = driver(processes, directory, "false", options=["--last-attempt"])
    assert last.wait(120) == 1
    assert (directory / "terminate").exists()

    good = driver(processes, directory, "true")
    assert good.wait(120) == 0
    assert (directory / "terminate").exists()
    assert not (directory / "scheduler.json").exists()


def test_without_a_folder_that_tasks_share_a_task_has_workers_of_its_own(processes, tmp_path, directory):
    seen = tmp_path / "seen"
    script = ("sh", "-c", f'cp "$TERALIGN_SCHEDULER" {seen}; echo told > "$TERALIGN_PROGRESS_FILE"')
    done = processes.start(RUN_ON_DASK, directory, 2, 4096, *script, TERALIGN_WORKERS="2", TERALIGN_RETRIED="")
    assert done.wait(120) == 0, processes.log
    assert json.loads(seen.read_text())["address"].startswith("tls://127.0.0.1:")
    assert directory.stat().st_mode & 0o777 == 0o700
    assert (directory / "progress").read_text() == "told\n"


def test_a_command_that_a_signal_ends_gives_128_and_the_signal(processes, directory):
    assert driver(processes, directory, "sh", "-c", "kill -9 $$").wait(120) == 137


def test_signals_reach_the_command_and_what_ignores_them_is_killed_after_some_grace(processes, tmp_path):
    script = "trap 'echo told; exit 3' TERM INT; echo ready; while :; do sleep 0.1; done"
    deaf = "trap '' TERM; echo ready; sleep 60 & wait; sleep 60"
    sent = (signal.SIGTERM, signal.SIGINT, signal.SIGTERM)
    drivers = [
        driver(processes, tmp_path / str(i), "sh", "-c", command) for i, command in enumerate([script, script, deaf])
    ]
    for process, number in zip(drivers, sent, strict=True):
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
    assert [process.wait(120) for process in drivers] == [3, 3, 128 + signal.SIGKILL]
    assert [process.stdout.readline() for process in drivers] == ["told\n", "told\n", ""]
    assert not list(tmp_path.glob("*/scheduler.json"))


def test_what_a_command_leaves_behind_is_ended(processes, directory):
    process = driver(processes, directory, "sh", "-c", "sleep 60 & exit 0")
    assert process.wait(120) == 0
    wait_until(lambda: not processes.alive(), 2)  # Python's resource tracker takes a moment


def test_when_the_driver_is_killed_everything_goes(processes, directory, tmp_path):
    process = driver(processes, directory, *job(tmp_path, 50, 0.3))
    helper = processes.start("start-dask-worker", "--dir", directory, *SMALL, "--rejoin", 1)
    wait_until(lambda: len(results(tmp_path)) > 2, 120)
    process.kill()
    process.wait()
    assert helper.wait(10) == 0
    wait_until(lambda: not processes.alive(), 5)

    again = driver(processes, directory, *job(tmp_path, 50, 0.01))
    assert again.wait(120) == 0
    total, resumed, failed = map(int, again.stdout.readline().split())
    assert (total, failed) == (50, 0)
    assert resumed >= 2
    assert results(tmp_path) == {f"result-z{n // 10:03d}_x{n % 10:03d}": bytes([n]) * 100 for n in range(50)}
    assert sum(calls(tmp_path).values()) <= 50 + 4


def test_a_worker_joins_a_running_driver_helps_and_leaves_with_it(processes, directory, tmp_path):
    early = processes.start("start-dask-worker", "--dir", directory, *SMALL)
    process = driver(processes, directory, *job(tmp_path, 30, 0.2))
    assert process.wait(120) == 0
    assert early.wait(10) == 0
    workers = {json.loads(p.read_text())["worker"] for p in folder_of(tmp_path).rglob("records/*/*/*.json")}
    assert len(workers) == 2
    late = processes.start("start-dask-worker", "--dir", directory, *SMALL)
    assert late.wait(10) == 0


def test_a_worker_that_is_told_to_goes_and_its_block_is_done_by_another(processes, directory, tmp_path):
    process = driver(processes, directory, *job(tmp_path, 16, 0.5))
    helper = processes.start("start-dask-worker", "--dir", directory, *SMALL)
    wait_until(lambda: "Joining" in processes.log and len(results(tmp_path)) > 4)
    started = time.monotonic()
    helper.terminate()
    assert helper.wait(10) == 128 + signal.SIGTERM
    assert time.monotonic() - started < 6
    assert process.wait(120) == 0
    assert len(results(tmp_path)) == 16


def test_a_failed_driver_is_followed_by_the_next_attempt_with_the_same_helper(processes, directory, tmp_path):
    fail = tmp_path / "fail"
    script = f"until [ -e {fail} ]; do sleep 0.1; done; exit 1"
    first = driver(processes, directory, "sh", "-c", script, options=["--workers", 0])
    helper = processes.start("start-dask-worker", "--dir", directory, *SMALL)
    wait_until(processes.workers, 120)
    fail.touch()
    assert first.wait(120) == 1
    second = driver(processes, directory, *job(tmp_path, 40, 0.1), options=["--workers", 0])
    assert second.wait(120) == 0
    assert helper.wait(10) == 0
    assert processes.log.count("Joining") == 2


def test_a_driver_whose_directory_is_a_later_one_s_leaves_it_alone(processes, directory, tmp_path):
    go_on = tmp_path / "go on"
    first = driver(processes, directory, "sh", "-c", f"until [ -e '{go_on}' ]; do sleep 0.1; done")
    wait_until((directory / "scheduler.json").exists, 120)
    (directory / "scheduler.json").unlink()  # as a head does that begins again
    second = driver(processes, directory, "sleep", 600)
    wait_until((directory / "scheduler.json").exists, 120)
    go_on.touch()
    assert first.wait(120) == 0
    assert json.loads((directory / "scheduler.json").read_text())["pid"] == second.pid
    assert not (directory / "terminate").exists()
    second.terminate()
    assert second.wait(120) == 143


def test_a_worker_leaves_when_no_scheduler_comes(processes, directory):
    absent = processes.start("start-dask-worker", "--dir", directory, "--wait", 1)
    assert absent.wait(15) == 5
    directory.mkdir()
    assert processes.start("start-dask-worker", "--dir", directory, "--wait", 1).wait(15) == 0
    assert "no scheduler was started" in processes.log
    assert f"Waiting up to 1 s for a scheduler in {directory}" in processes.log


def test_a_command_without_workers_says_what_to_look_at_and_ends_after_its_wait(processes, directory, tmp_path):
    alone = driver(processes, directory, *job(tmp_path, 3, 0.1), options=["--workers", 0, "--worker-wait", 8])
    assert alone.wait(120) == 1
    log = processes.log
    assert re.search(r"work: no worker for [4-7] s: see whether the jobs of start-dask-worker run, .* for 8 s", log)
    assert re.search(r"ClusterError: work: there has been no worker for \d+ s \(--worker-wait\)", log)
    assert calls(tmp_path) == {}


def test_workers_that_cannot_start_are_said_to_be_the_driver_s_own(processes, directory, tmp_path, monkeypatch):
    monkeypatch.setenv("DASK_DISTRIBUTED__WORKER__PRELOAD", '["no_such_module"]')
    alone = driver(processes, directory, *job(tmp_path, 3, 0.1), options=["--worker-wait", 12])
    assert alone.wait(120) == 1
    assert re.search(r"Worker 0 could not be started .*no_such_module", processes.log)
    assert re.search(r"work: no worker for \d+ s: its own are started again and again", processes.log)


def test_a_scheduler_stands_alone_until_it_is_stopped(processes, directory, tmp_path):
    scheduler = processes.start("start-dask-scheduler", "--dir", directory, "--workers", 1, *SMALL)
    worker = processes.start("start-dask-worker", "--dir", directory, *SMALL)
    wait_until(lambda: (directory / "scheduler.json").exists(), 120)
    second = processes.start("start-dask-scheduler", "--dir", directory)
    client = processes.start(*job(tmp_path, 20, 0.1), TERALIGN_SCHEDULER=str(directory))
    assert client.wait(120) == 0
    assert second.wait(10) == 5
    assert f"process {scheduler.pid}" in processes.log
    assert scheduler.poll() is None

    stop = processes.start("stop-dask-cluster", "--dir", directory)
    assert stop.wait(120) == 0
    assert scheduler.wait(5) == 0
    assert worker.wait(5) == 0
    again = processes.start("stop-dask-cluster", "--dir", directory)
    assert again.wait(120) == 5
    assert "nothing to stop" in processes.log


def test_stop_ends_a_command_and_clears_up_after_a_scheduler_that_was_killed(processes, directory):
    running = driver(processes, directory, "sleep", 60)
    wait_until(lambda: (directory / "scheduler.json").exists(), 120)
    assert processes.start("stop-dask-cluster", "--dir", directory).wait(120) == 0
    assert running.wait(5) == 143

    killed = processes.start("start-dask-scheduler", "--dir", directory)
    wait_until(lambda: (directory / "scheduler.json").exists(), 120)
    killed.kill()
    killed.wait()
    assert processes.start("stop-dask-cluster", "--dir", directory).wait(120) == 0
    assert not (directory / "scheduler.json").exists()


def test_a_worker_process_that_is_killed_is_replaced(processes, directory, tmp_path):
    process = driver(processes, directory, *job(tmp_path, 12, 0.4))
    wait_until(lambda: len(results(tmp_path)) > 2, 120)
    for worker in processes.workers():
        worker.kill()
    assert process.wait(120) == 0
    assert len(results(tmp_path)) == 12


def test_a_block_that_kills_its_workers_fails_and_the_others_do_not(processes, directory, tmp_path):
    process = driver(processes, directory, *job(tmp_path, 12, 0.05, "z000_x003"))
    assert process.wait(120) == 1  # the job's error, uncaught
    assert "1 of 12 blocks failed (z000_x003)" in processes.log
    assert len(results(tmp_path)) == 11
    assert calls(tmp_path)["calls-z000_x003"] == 6


def test_help_answers_without_loading_dask(processes):
    for name in ("start-dask-scheduler", "start-dask-worker", "stop-dask-cluster"):
        process = processes.start(name, "--help", PYTHONVERBOSE="1")
        assert "--dir" in process.stdout.read()
        assert process.wait() == 0
    assert "import 'click'" in processes.log
    assert "import 'dask'" not in processes.log


def test_an_unknown_command_is_a_clear_error(processes, directory):
    assert driver(processes, directory, "no-such-command").wait(10) == 2
    assert "'no-such-command'" in processes.log
    assert not directory.exists()
