"""A client finds its scheduler, or says in a sentence, soon, that there is none."""

from __future__ import annotations

import asyncio
import json
import socket
import time

import pytest
from distributed import Client, LocalCluster

from teralign.cluster import Compute
from teralign.cluster.client import client_of, find_scheduler
from teralign.cluster.local import local_cluster
from teralign.cluster.machine import WorkerSize
from teralign.cluster.network import Network
from teralign.cluster.worker import serve
from teralign.errors import ClusterError


def refused(scheduler, seconds: float = 1.0) -> str:
    started = time.monotonic()
    with pytest.raises(ClusterError) as error, client_of(str(scheduler), seconds=seconds):
        pass
    assert time.monotonic() - started < seconds + 12
    assert "--scheduler" in str(error.value)
    return str(error.value)


@pytest.fixture
def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        yield probe.getsockname()[1]


def test_an_address_at_which_nobody_listens(free_port):
    assert f"tcp://127.0.0.1:{free_port}" in refused(f"127.0.0.1:{free_port}")


def test_an_address_at_which_something_else_listens():
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        address = f"tcp://127.0.0.1:{mute.getsockname()[1]}"
        assert "No Dask scheduler answers" in refused(address)
        with pytest.raises(ClusterError, match="correct --scheduler"), Compute(address).connect():
            pass


def test_an_address_of_no_kind():
    assert "nonsense" in refused("nonsense://here")


def test_a_file_or_directory_that_is_not_there_or_says_nothing(tmp_path):
    assert "does not name a Dask scheduler" in refused(tmp_path / "scheduler.json")
    assert "does not name a Dask scheduler" in refused(tmp_path)
    (tmp_path / "scheduler.json").write_text("{}")
    assert "does not name a Dask scheduler" in refused(tmp_path)


def test_a_file_whose_scheduler_is_gone(tmp_path, free_port):
    path = tmp_path / "scheduler.json"
    path.write_text(json.dumps({"address": f"tcp://127.0.0.1:{free_port}"}))
    assert str(path) in refused(path)


def test_a_scheduler_is_found_by_address_file_and_directory(tmp_path):
    """One of Dask itself, which neither encrypts nor has files of ours."""
    options = {"processes": False, "protocol": "tcp", "dashboard_address": None}
    with LocalCluster(n_workers=0, scheduler_kwargs={"dashboard": False}, **options) as cluster:
        address, known = cluster.scheduler_address, {"address": cluster.scheduler_address, "id": cluster.scheduler.id}
        (tmp_path / "scheduler.json").write_text(json.dumps({**known, "workers": {}}))
        (tmp_path / "mine.json").write_text(json.dumps(known))
        for scheduler in (address, address.removeprefix("tcp://"), tmp_path, tmp_path / "mine.json"):
            assert find_scheduler(str(scheduler)).address == address
        with Compute(str(tmp_path)).connect() as client:
            assert client.scheduler.address == address


def test_own_workers_have_the_size_that_is_asked_for():
    with Compute(workers=2, worker_cpus=1, worker_mem_gb=0.75).connect() as client:
        client.wait_for_workers(2, timeout=60)
        workers = client.scheduler_info(n_workers=-1)["workers"].values()
        assert [w["nthreads"] for w in workers] == [1, 1]
        assert {w["memory_limit"] for w in workers} == {750_000_000}
        assert client.scheduler.address.startswith("tls://127.0.0.1")


def test_a_plan_counts_all_workers_of_a_scheduler():
    """Dask tells of five workers unless it is asked for all."""
    options = {"processes": False, "threads_per_worker": 1, "memory_limit": 10**9, "dashboard_address": None}
    with LocalCluster(n_workers=7, scheduler_kwargs={"dashboard": False}, **options) as cluster:
        found = Compute(cluster.scheduler_address).capacity()
    assert (found.workers, found.cpus, found.memory) == (7, 7, 10**9)


def test_workers_of_the_same_host_name_and_process_number_are_all_taken():
    async def serve_two(address: str, security) -> int:
        own = (WorkerSize(1, 0), Network(local=True), security)
        workers = [asyncio.create_task(serve(address, *own)) for _ in range(2)]
        async with Client(address, asynchronous=True, security=security) as client:
            await client.wait_for_workers(2, timeout=60)
            count = len(client.scheduler_info(n_workers=-1)["workers"])
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
        return count

    with local_cluster(0, WorkerSize(1, 0)) as (address, security):
        assert asyncio.run(serve_two(address, security)) == 2
