"""Another user of the machine, or of the network, gets into no cluster, and its secrets are nowhere to be found."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import dask
import psutil
import pytest
from distributed import LocalCluster, Security
from processes import wait_until

from teralign.cluster import Compute
from teralign.cluster.credentials import new_credentials
from teralign.errors import ClusterError

HERE = Path(__file__).parent
JOB = HERE / "job.py"
SMALL = ("--worker-cpus", 1, "--worker-mem-gb", 1)
ANY_HOST = {"0.0.0.0", "::"}
PATIENCE = 120  # seconds, on a busy machine


@pytest.fixture
def work(tmp_path):
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "dir"


def driver(processes, directory, *command, options=()):
    return processes.start("start-dask-scheduler", "--dir", directory, *SMALL, *options, "--", *command)


def job(folder, count, seconds):
    return sys.executable, JOB, folder, count, seconds


def listening(processes) -> list[tuple[str, int]]:
    """Host and port of every socket at which our processes listen, whatever the protocol."""
    return sorted(
        {
            (socket_.laddr.ip, socket_.laddr.port)
            for process in processes.alive()
            for socket_ in process.net_connections("inet")
            if socket_.status == psutil.CONN_LISTEN or socket_.type == socket.SOCK_DGRAM
        }
    )


def end(*started) -> None:
    for process in started:
        process.terminate()
    for process in started:
        process.wait(PATIENCE)


def results(folder) -> int:
    return len(list(folder.glob("result-*")))


@pytest.fixture
def open_scheduler():
    """A scheduler of Dask itself, which lets everyone in: what the stranger tries does work."""
    options = {"processes": False, "protocol": "tcp", "dashboard_address": None}
    with LocalCluster(n_workers=0, scheduler_kwargs={"dashboard": False}, **options) as cluster:
        yield cluster.scheduler_address


@pytest.fixture
def stranger(open_scheduler):
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")

    def ask(addresses=(), files=(), folders=()) -> dict[str, object]:
        asked = {
            "scheduler": open_scheduler,
            "addresses": [open_scheduler.removeprefix("tcp://"), *addresses],
            "files": [str(path) for path in files],
            "folders": [str(path) for path in folders],
        }
        command = [sys.executable, str(HERE / "stranger.py"), json.dumps(asked)]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
        assert answer.returncode == 0, answer.stderr
        found = json.loads(answer.stdout.splitlines()[-1])
        assert found["user"] != 0
        assert found["runs_code"]
        assert found["open"][0] == open_scheduler.removeprefix("tcp://")
        return {"open": found["open"][1:], "read": found["read"], "uses": found["uses"]}

    return ask


@pytest.fixture
def shared():
    """A folder that every user may look into, unlike those of pytest."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_another_user_is_refused_at_every_port_and_reads_no_secret(processes, shared, work, stranger):
    directory, foreign, readable = shared / "dir", shared / "foreign", shared / "readable"
    directory.mkdir(mode=0o755)  # as an earlier version made it
    readable.touch(mode=0o644)
    foreign.mkdir()
    os.chown(foreign, 12345, 12345)

    standing = processes.start("start-dask-scheduler", "--dir", directory, "--workers", 1, *SMALL)
    helper = processes.start("start-dask-worker", "--dir", directory, *SMALL)
    alone = processes.start(*job(work, 4000, 0.2))  # its own workers, without a scheduler to join
    wait_until(lambda: len(processes.workers()) == 4 and results(work) > 3, PATIENCE)
    wait_until(lambda: len(listening(processes)) == 10, PATIENCE)  # two schedulers, four nannies, four workers
    assert not ANY_HOST & {host for host, _ in listening(processes)}

    secrets = [directory / "scheduler.json", directory / "credentials.pem"]
    addresses = [f"{host}:{port}" for host, port in listening(processes)]
    asked = stranger(addresses, [*secrets, readable], [foreign, shared])
    assert asked == {"open": [], "read": [str(readable)], "uses": [str(shared)]}
    assert directory.stat().st_mode & 0o777 == 0o700
    assert [path.stat().st_mode & 0o777 for path in secrets] == [0o600, 0o600]
    assert [each.poll() for each in (standing, helper, alone)] == [None] * 3
    end(alone, helper, standing)


def test_the_key_is_on_no_command_line_in_no_environment_and_in_no_file_but_its_own(processes, directory, work):
    dump = "env; cat /proc/self/environ | tr '\\0' '\\n'"
    process = driver(processes, directory, "sh", "-c", f"{dump}; {' '.join(map(str, job(work, 40, 0.2)))} --verbose")
    wait_until(lambda: results(work) > 4, PATIENCE)
    secret = next(line for line in (directory / "credentials.pem").read_text().splitlines() if "-" not in line)
    seen = [text for each in processes.alive() for text in (*each.cmdline(), *each.environ().values())]
    assert len(seen) > 20
    assert not [text for text in seen if secret in text or "PRIVATE" in text]
    process.terminate()
    process.wait(PATIENCE)
    assert secret not in process.stdout.read()
    written = [path for path in directory.parent.rglob("*") if path.is_file()]
    assert len(written) > 5
    assert not [path for path in written if secret.encode() in path.read_bytes()]
    assert not (directory / "credentials.pem").exists()


def test_a_cluster_on_one_machine_listens_there_only(processes, directory):
    process = driver(processes, directory, "sleep", 600, options=["--local"])
    wait_until(processes.workers, PATIENCE)
    wait_until(lambda: len(listening(processes)) == 3, PATIENCE)
    assert {host for host, _ in listening(processes)} == {"127.0.0.1"}
    end(process)


def test_two_clusters_share_a_range_of_ports(processes, tmp_path):
    first = 20000 + os.getpid() % 10000  # below the ports that systems give to clients
    options = ["--interface", "lo", "--ports", f"{first}:{first + 29}"]
    both = [driver(processes, tmp_path / name, "sleep", 600, options=options) for name in "ab"]
    wait_until(lambda: len(listening(processes)) == 6, PATIENCE)
    assert {host for host, _ in listening(processes)} == {"127.0.0.1"}
    assert {port for _, port in listening(processes)} <= set(range(first, first + 30))

    taken = driver(
        processes, tmp_path / "c", "true", options=["--interface", "lo", "--ports", f"{first}:{first + 1}"]
    )
    assert taken.wait(PATIENCE) == 5
    assert f"No port of --ports {first}:{first + 1} is free" in processes.log
    end(*both)


def test_options_of_the_network_that_cannot_be(processes, directory):
    wrong = {
        ("--interface", "ib9"): "has no network interface 'ib9' with an IPv4 address: give one of lo (127.0.0.1)",
        ("--ports", "9000"): "'9000' is no range of ports",
        ("--ports", "9100:9000"): "'9100:9000' is no range of ports",
        ("--local", "--interface", "lo"): "--local and --interface exclude each other",
    }
    started = [driver(processes, directory, "true", options=options) for options in wrong]
    assert [process.wait(PATIENCE) for process in started] == [2] * len(wrong)
    for sentence in wrong.values():
        assert sentence in processes.log
    assert not directory.exists()


def test_a_worker_that_cannot_reach_the_scheduler_says_so_and_ends(processes, directory):
    directory.mkdir()
    published = {"address": "tls://127.0.0.1:9", "id": "x", "pid": 7, "host": socket.gethostname()}
    (directory / "scheduler.json").write_text(json.dumps(published))
    assert processes.start("start-dask-worker", "--dir", directory, "--wait", 1).wait(PATIENCE) == 5
    assert "has not reached the scheduler at tls://127.0.0.1:9 (process 7 on" in processes.log
    assert "--interface (" in processes.log

    (directory / "scheduler.json").write_text(json.dumps(published | {"host": "elsewhere"}))
    assert processes.start("start-dask-worker", "--dir", directory, "--wait", 1).wait(PATIENCE) == 5
    assert "listens on elsewhere only: start it without --local" in processes.log


def test_certificates_of_another_cluster_come_from_the_configuration_of_dask(tmp_path):
    pem = tmp_path / "site.pem"
    pem.write_text(new_credentials())
    site = {f"distributed.comm.tls.{role}.cert": str(pem) for role in ("client", "scheduler", "worker")}
    site |= {"distributed.comm.require-encryption": True, "distributed.comm.tls.ca-file": str(pem)}
    options = {"processes": False, "protocol": "tls", "dashboard_address": None}
    with contextlib.ExitStack() as stack:
        stack.enter_context(dask.config.set(site))
        of_dask = LocalCluster(1, security=Security(), scheduler_kwargs={"dashboard": False}, **options)
        cluster = stack.enter_context(of_dask)
        address = cluster.scheduler_address
        assert Compute(address).capacity().workers == 1
        published = {"address": address, "id": cluster.scheduler.id}
        (tmp_path / "scheduler.json").write_text(json.dumps(published))
        assert Compute(str(tmp_path)).capacity().workers == 1

        (tmp_path / "scheduler.json").write_text(json.dumps(published | {"credentials": "gone.pem"}))
        with pytest.raises(ClusterError, match=r"gone\.pem\) cannot be read"):
            Compute(str(tmp_path)).capacity()
        stack.enter_context(dask.config.set({"distributed.comm.tls.client.cert": None}))
        with pytest.raises(ClusterError, match="Dask's configuration has no certificates"):
            Compute(address).capacity()


def test_keys_of_the_users_dask_configuration_do_not_reach_our_own_clusters():
    foreign = {"distributed.comm.tls.client.key": "/no/key", "distributed.comm.tls.ciphers": "none"}
    with dask.config.set(foreign), Compute(workers=1, worker_cpus=1, worker_mem_gb=0.5).connect() as client:
        client.wait_for_workers(1, timeout=60)
