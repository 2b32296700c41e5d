"""Whatever befalls blocks, workers or the scheduler: what is finished is kept, and the run ends in bounded time."""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import json
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from block_functions import Found, calls, fail_for, hog, items, kill_for, payloads, slow, square

from teralign.blockwise import Workspace, plan_blocks, run_blocks
from teralign.blockwise.batch_size import BatchSize
from teralign.cluster import Compute
from teralign.cluster.own_workers import announce_own_workers
from teralign.errors import AlignmentError, ClusterError, DataError


@pytest.fixture(scope="module")
def client():
    with Compute(workers=2, worker_cpus=1, worker_mem_gb=0.5).connect() as client:
        client.wait_for_workers(2, timeout=60)
        yield client


@pytest.fixture
def workspace(tmp_path):
    with Workspace(tmp_path / "partial") as made:
        made.prepare({"test": 1})
        yield made


@pytest.fixture(params=["here", "dask"])
def either(request):
    return None if request.param == "here" else request.getfixturevalue("client")


def test_every_block_is_run_once_and_has_its_record(either, workspace):
    summary = run_blocks(
        functools.partial(square, workspace=workspace), items(25), client=either, workspace=workspace, stage="work"
    )
    assert (summary.total, summary.done, summary.resumed, summary.failed) == (25, 25, 0, ())
    assert set(calls(workspace.path.parent).values()) == {1}
    records = list(workspace.records("work", Found))
    assert [r.block for r in records] == [i.name for i in items(25)]
    assert records[7].state == "ok"
    assert records[7].metric == 7
    assert records[7].none is None
    assert records[7].attempts == 1
    assert records[7].seconds >= 0
    assert int(records[7].worker.split(":")[1]) > 0
    assert np.load(workspace.payload("work", items(8)[7].name, ".npy"))[0] == 49


def test_a_run_that_goes_on_runs_what_is_missing_and_what_failed(either, workspace):
    names = {"z000_x003": 99, "z001_x001": 99}
    function = functools.partial(fail_for, names=names, workspace=workspace, error=ValueError)
    run = functools.partial(run_blocks, client=either, workspace=workspace, stage="work", retries=0, max_failed=1)
    assert run(function, items(10)).failed == ("z000_x003",)
    summary = run(function, items(20))
    assert (summary.resumed, summary.failed) == (9, ("z000_x003", "z001_x001"))
    assert calls(workspace.path.parent)["z000_x003"] == 2
    healed = functools.partial(function, names={})
    assert run(healed, items(20)).resumed == 18
    assert {r.state for r in workspace.records("work", Found)} == {"kept"}


def test_a_block_that_raises_is_tried_again_and_then_recorded_as_failed(either, workspace, caplog):
    names = {"z000_x001": 2, "z000_x002": 3}
    function = functools.partial(fail_for, names=names, workspace=workspace, error=ValueError)
    run = functools.partial(run_blocks, function, items(6), client=either, workspace=workspace, stage="work")
    with pytest.raises(AlignmentError, match=r"work: 1 of 6 blocks failed \(z000_x002\), the last with ValueError"):
        run()
    records = {r.block: r for r in workspace.records("work", Found)}
    assert records["z000_x001"].attempts == 3
    assert records["z000_x002"].state == "failed"
    assert records["z000_x002"].error == "ValueError: no luck with z000_x002"
    assert "fail_for" in records["z000_x002"].traceback
    assert "z000_x002 failed" in caplog.text


def test_files_that_fail_make_it_an_error_of_data(either, workspace):
    function = functools.partial(fail_for, names={"z000_x001": 3}, workspace=workspace, error=OSError)
    with pytest.raises(DataError, match="1 of 3 blocks failed"):
        run_blocks(function, items(3), client=either, workspace=workspace, stage="work")


def test_when_nothing_works_the_run_stops_early(either, workspace):
    names = {i.name: 9 for i in items(500)}
    function = functools.partial(fail_for, names=names, workspace=workspace, error=OSError)
    with pytest.raises(DataError, match="of 500 blocks failed"):
        run_blocks(function, items(500), client=either, workspace=workspace, stage="work", retries=0, max_failed=0.02)
    assert len(calls(workspace.path.parent)) < 100


def test_blocks_of_a_plan_are_run_as_they_are(client, workspace):
    plan = plan_blocks((40, 40, 40), (20, 20, 20), 0.25)
    summary = run_blocks(voxels, plan, client=client, workspace=workspace, stage="work")
    assert summary.done == 8
    assert sum(r.voxels for r in workspace.records("work", Found)) == 40**3


def voxels(block):
    return Found(voxels=block.core.size)


def test_a_block_whose_worker_dies_is_done_by_another(client, workspace):
    function = functools.partial(kill_for, names={"z000_x002": 1}, workspace=workspace)
    summary = run_blocks(function, items(8), client=client, workspace=workspace, stage="work")
    assert summary.failed == ()
    assert calls(workspace.path.parent)["z000_x002"] == 2


def test_a_block_that_kills_fails_alone_however_many_wait_behind_it(client, workspace):
    function = functools.partial(kill_for, names={"z000_x000": 99}, workspace=workspace)
    run = functools.partial(run_blocks, function, items(12), client=client, workspace=workspace, stage="work")
    summary = run(window=12, max_failed=0.1)
    assert summary.failed == ("z000_x000",)
    record = workspace.load_record("work", "z000_x000")
    assert record.state == "failed"
    assert "each of the 3 workers that ran it died" in record.error


@pytest.fixture
def batches_of_four(monkeypatch):
    """What the pace of blocks of a hundredth of a second comes to after some seconds."""
    monkeypatch.setattr(BatchSize, "of_next", lambda *_: 4)


def test_blocks_that_share_a_task_are_run_once_each_and_those_that_fail_are_tried_again(
    batches_of_four, client, workspace
):
    names = {"z000_x002": 2, "z000_x003": 99, "z001_x001": 1}
    function = functools.partial(fail_for, names=names, workspace=workspace, error=ValueError)
    summary = run_blocks(function, items(14), client=client, workspace=workspace, stage="work", max_failed=0.1)
    assert (summary.done, summary.failed) == (13, ("z000_x003",))
    expected = {item.name: 1 for item in items(14)} | {"z000_x002": 3, "z000_x003": 3, "z001_x001": 2}
    assert calls(workspace.path.parent) == expected


def test_a_block_that_kills_fails_alone_in_its_task(batches_of_four, client, workspace):
    function = functools.partial(kill_for, names={"z000_x001": 99}, workspace=workspace)
    run = functools.partial(run_blocks, function, items(8), client=client, workspace=workspace, stage="work")
    assert run(max_failed=0.2).failed == ("z000_x001",)
    assert calls(workspace.path.parent)["z000_x000"] == 1


def test_a_task_that_runs_past_its_time_hands_back_what_it_has_not_begun(
    batches_of_four, client, workspace, monkeypatch
):
    monkeypatch.setattr("teralign.blockwise.run.task_seconds", lambda _workers: 0.01)
    function = functools.partial(slow, workspace=workspace, seconds=0.05)
    assert run_blocks(function, items(10), client=client, workspace=workspace, stage="work").done == 10
    assert set(calls(workspace.path.parent).values()) == {1}


def test_a_block_that_takes_too_much_memory_fails_and_no_other(client, workspace):
    function = functools.partial(hog, megabytes=700)
    summary = run_blocks(function, items(4), client=client, workspace=workspace, stage="work", max_failed=0.5)
    assert summary.failed == ("z000_x001",)
    error = workspace.load_record("work", "z000_x001").error
    assert re.search(r"it took 0\.\d+ GB of memory, but a worker has 0\.50 GB; .*--worker-mem-gb", error)


def test_a_function_that_workers_cannot_load_is_a_failure_with_its_reason(client, workspace):
    function = functools.partial(Unloadable())
    with pytest.raises(AlignmentError, match="not for workers"):
        run_blocks(function, items(2), client=client, workspace=workspace, stage="work", retries=0)
    assert {r.state for r in workspace.records("work", Found)} == {"failed"}


class Unloadable:
    def __reduce__(self):
        return refuse, ()

    def __call__(self, item):
        return Found()


def refuse():
    raise ImportError("not for workers")


def test_nothing_stays_with_dask(client, workspace):
    run_blocks(
        functools.partial(square, workspace=workspace), items(60), client=client, workspace=workspace, stage="work"
    )
    deadline = time.monotonic() + 10
    while client.futures or client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks)):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_blocks_are_taken_as_they_are_needed(client, workspace):
    taken = 0

    class Lazy(list):
        def __iter__(self):
            nonlocal taken
            for item in super().__iter__():
                taken += 1
                yield item

    def first_record(path):
        deadline = time.monotonic() + 30
        while not any(path.rglob("*.json")) and time.monotonic() < deadline:
            time.sleep(0.01)
        return taken

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        seen = pool.submit(first_record, workspace.path / "records")
        run_blocks(
            functools.partial(slow, workspace=workspace, seconds=0.01),
            Lazy(items(300)),
            client=client,
            workspace=workspace,
            stage="work",
        )
        assert seen.result() < 60
    assert taken == 300


def test_workers_compute_with_their_cores_and_end_with_their_context(tmp_path):
    before = psutil.Process().children(recursive=True)
    with (
        Compute(workers=1, worker_cpus=3, worker_mem_gb=1).connect() as client,
        Workspace(tmp_path / "partial") as workspace,
    ):
        workspace.prepare({})
        run_blocks(
            functools.partial(slow, workspace=workspace, seconds=0),
            items(1),
            client=client,
            workspace=workspace,
            stage="work",
        )
        (record,) = workspace.records("work", Found)
    assert record.threads == "3"
    after = set(psutil.Process().children(recursive=True)) - set(before)
    assert not [p for p in after if "spawn_main" in " ".join(p.cmdline())]
    assert os.environ.get("OMP_NUM_THREADS") != "3"


def test_a_cluster_without_workers_ends_the_run_in_bounded_time(workspace):
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=0, dashboard_address=":0", scheduler_kwargs={"dashboard": False}) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        started = time.monotonic()
        with pytest.raises(ClusterError, match="there has been no worker"):
            run_blocks(
                functools.partial(square, workspace=workspace),
                items(5),
                client=client,
                workspace=workspace,
                stage="work",
                patience=1,
                start_patience=1,
            )
        assert time.monotonic() - started < 15


def cluster_of(workers, **options):
    from distributed import LocalCluster

    options = {"dashboard_address": ":0", "scheduler_kwargs": {"dashboard": False}, **options}
    return LocalCluster(n_workers=workers, processes=False, threads_per_worker=1, **options)


def test_a_first_worker_that_starts_slowly_is_waited_for(workspace):
    from distributed import Client

    with cluster_of(0) as cluster, Client(cluster, set_as_default=False) as client:
        late = threading.Timer(4, cluster.scale, [1])
        late.start()
        summary = run_blocks(
            functools.partial(square, workspace=workspace),
            items(3),
            client=client,
            workspace=workspace,
            stage="work",
            patience=1,
            start_patience=60,
        )
        late.join()
    assert summary.done == 3


@pytest.mark.parametrize("started_again", [False, True])
def test_lost_workers_are_waited_for_if_the_process_of_the_scheduler_starts_them_again(workspace, started_again):
    from distributed import Client

    with cluster_of(1) as cluster, Client(cluster, set_as_default=False) as client:
        announce_own_workers(cluster.scheduler, int(started_again))
        timers = [threading.Timer(1, cluster.scale, [0])]
        outcome = pytest.raises(ClusterError, match="there has been no worker")
        if started_again:
            timers.append(threading.Timer(6, cluster.scale, [1]))
            outcome = contextlib.nullcontext()
        for timer in timers:
            timer.start()
        with outcome:
            run_blocks(
                functools.partial(slow, workspace=workspace, seconds=0.5),
                items(8),
                client=client,
                workspace=workspace,
                stage="work",
                patience=1,
                start_patience=60,
            )
        for timer in timers:
            timer.join()


SCRIPT = """
import functools, sys
from block_functions import items, slow
from teralign.blockwise import Workspace, run_blocks
from teralign.cluster import Compute
if __name__ == "__main__":
    with Workspace(sys.argv[1]) as workspace, Compute(sys.argv[2] or None, 2, 1, 1).connect() as client:
        workspace.prepare({})
        function = functools.partial(slow, workspace=workspace, seconds=0.2)
        print("ready", flush=True)
        run_blocks(function, items(40), client=client, workspace=workspace, stage="work")
"""


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    return path


def environment():
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path}


def test_a_run_that_is_interrupted_leaves_nothing_running(script, tmp_path):
    with subprocess.Popen(
        [sys.executable, script, tmp_path / "partial", ""],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        process.stdout.readline()
        time.sleep(0.5)
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    assert "KeyboardInterrupt" in errors
    assert "CommClosedError" not in errors
    assert len(psutil.wait_procs(children, 5)[0]) == len(children)
    assert not (tmp_path / "partial" / "lock.json").exists()


def test_a_scheduler_that_goes_ends_the_run_in_bounded_time(script, tmp_path):
    code = """
import sys, time
from distributed import LocalCluster
if __name__ == "__main__":
    cluster = LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0")
    print(cluster.scheduler_address, flush=True)
    time.sleep(60)
"""
    own = tmp_path / "cluster.py"
    own.write_text(code)
    with subprocess.Popen(
        [sys.executable, own], env=environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as cluster:
        address = cluster.stdout.readline().strip()
        with subprocess.Popen(
            [sys.executable, script, tmp_path / "partial", address],
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            process.stdout.readline()
            records = tmp_path / "partial" / "records"
            while len(list(records.rglob("*.json"))) < 3:
                time.sleep(0.05)
            cluster.kill()
            killed = time.monotonic()
            _, errors = process.communicate(timeout=60)
            assert time.monotonic() - killed < 40
    assert process.returncode == 1
    assert "ClusterError" in errors
    assert "give the same command again" in errors
    assert all(json.loads(p.read_text())["state"] == "ok" for p in records.rglob("*.json"))


def test_progress_tells_what_is_done_and_what_is_left(workspace, caplog):
    caplog.set_level(logging.INFO)
    run_blocks(
        functools.partial(square, workspace=workspace), items(3), client=None, workspace=workspace, stage="work"
    )
    assert "work: 3 of 3 (100 %)" in caplog.text


def test_payloads_are_the_same_whoever_made_them(client, tmp_path):
    made = []
    for name, who in (("a", None), ("b", client)):
        (tmp_path / name).mkdir()
        with Workspace(tmp_path / name / "partial") as workspace:
            workspace.prepare({})
            run_blocks(
                functools.partial(square, workspace=workspace),
                items(12),
                client=who,
                workspace=workspace,
                stage="work",
            )
            made.append(payloads(workspace))
    assert made[0] == made[1]
    assert len(made[0]) == 12
