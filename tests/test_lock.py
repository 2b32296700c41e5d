"""The lock of a directory: one process holds it, and a lock whose process has ended is taken over."""

from __future__ import annotations

import json
import multiprocessing
import subprocess
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path

import psutil
import pytest

from teralign.errors import InputError
from teralign.lock import PATIENCE_VARIABLE, Holder, Lock, LockTimes

SOON = LockTimes(touch=0.1, stale=1.0)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "lock.json"


def take_and_release(path: Path, times: LockTimes = SOON) -> None:
    Lock.take(path, times).release()


def ended() -> Holder:
    """A process of this host that has ended: no process has a number this high."""
    return Holder(**{**asdict(Holder.this_process()), "pid": 2**22 + 1})


def write(path: Path, holder: Holder) -> None:
    path.write_text(json.dumps(asdict(holder)))


ELSEWHERE = Holder(host="elsewhere", boot="?", namespace="?", pid=7)


def test_a_process_on_another_host_holds_it_while_it_shows_life(path):
    write(path, ELSEWHERE)
    with subprocess.Popen(["sh", "-c", f"while sleep 0.2; do touch {path}; done"]) as holder:
        with pytest.raises(InputError, match="process 7 on elsewhere"):
            take_and_release(path)
        holder.kill()
    take_and_release(path)
    assert not path.exists()


def test_a_run_waits_for_an_earlier_one_that_ends_where_the_environment_says_so(path, monkeypatch):
    with subprocess.Popen(["sleep", "600"]) as holder:
        number = psutil.Process(holder.pid)
        write(path, replace(Holder.this_process(), pid=holder.pid, started=number.create_time()))
        with pytest.raises(InputError, match=f"in use by process {holder.pid}"):
            Lock.take_patiently(path)
        monkeypatch.setenv(PATIENCE_VARIABLE, "60")
        threading.Timer(1, holder.kill).start()
        Lock.take_patiently(path).release()
    assert not path.exists()


def test_a_lock_that_goes_while_it_is_watched_is_free(path):
    write(path, ELSEWHERE)
    with subprocess.Popen(["sh", "-c", f"sleep 0.5; rm {path}"]):
        take_and_release(path, LockTimes(touch=0.1))


def test_a_holder_touches_it(path):
    held = Lock.take(path, SOON)
    before = path.stat().st_mtime_ns
    time.sleep(0.5)
    assert path.stat().st_mtime_ns > before
    held.release()


def take(path: str, barrier, results) -> None:
    barrier.wait(60)
    try:
        held = Lock.take(Path(path))
    except InputError:
        held = None
    results.put(held is not None)
    barrier.wait(60)
    if held:
        held.release()


def test_of_many_that_find_a_stale_lock_one_gets_it(path):
    context = multiprocessing.get_context("spawn")
    write(path, ended())
    barrier, results = context.Barrier(5), context.Queue()
    processes = [context.Process(target=take, args=(str(path), barrier, results)) for _ in range(5)]
    for process in processes:
        process.start()
    got = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join(30)
    assert sum(got) == 1
    assert list(path.parent.iterdir()) == []


def test_a_takeover_that_was_cut_off_delays_the_next_only_for_a_while(path):
    write(path, ended())
    path.with_name("lock.json.takeover").touch()
    take_and_release(path, LockTimes(stale=0.5))
    assert list(path.parent.iterdir()) == []


def test_who_waits_gets_it_when_it_is_free_and_is_told_when_it_stays_in_use(path):
    held = Lock.take(path)
    with pytest.raises(InputError, match=r"has been in use by another process for 1 s; run this again"):
        Lock.wait(path, seconds=1)
    held.release()
    Lock.wait(path, seconds=1).release()
