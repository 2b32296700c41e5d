"""Tasks end when the head of their run has gone, and only then: bin/watch-head."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .runs import ROOT

TASK = """
trap 'echo told; exit 0' TERM
exec {{fd}}> >({watch} "$1" $$ 3)
echo watched
while :; do sleep 0.1; done
"""
HERE = f"{socket.gethostname()}:{Path('/proc/self/ns/pid').readlink()}"


@pytest.fixture
def task() -> Iterator[Callable[[Path], subprocess.Popen[str]]]:
    """Starts a task that is watched, and says when it is told to end."""
    started = []

    def start(sign: Path) -> subprocess.Popen[str]:
        script = TASK.format(watch=ROOT / "bin" / "watch-head")
        started.append(subprocess.Popen(["bash", "-c", script, "task", str(sign)], stdout=subprocess.PIPE, text=True))
        assert started[-1].stdout is not None
        assert started[-1].stdout.readline() == "watched\n"
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def was_told(process: subprocess.Popen[str]) -> bool:
    return process.communicate(timeout=60)[0] == "told\n"


def ended() -> int:
    """The number of a process that is no more."""
    with subprocess.Popen(["true"]) as process:
        return process.pid


def write(sign: Path, text: str) -> None:
    """Replace the file at once, as the head does."""
    whole = sign.with_suffix(".new")
    whole.write_text(text + "\n")
    whole.replace(sign)


def test_a_head_that_ended_on_this_host_is_noticed(
    tmp_path: Path, task: Callable[[Path], subprocess.Popen[str]]
) -> None:
    sign = tmp_path / "head"
    write(sign, f"1 {HERE} {ended()}")
    assert was_told(task(sign))


def test_a_head_on_this_host_that_is_halted_is_no_reason(
    tmp_path: Path, task: Callable[[Path], subprocess.Popen[str]]
) -> None:
    sign = tmp_path / "head"
    write(sign, f"1 {HERE} {os.getpid()}")
    process = task(sign)
    time.sleep(7)
    assert process.poll() is None
    sign.unlink()
    assert was_told(process)


def test_a_head_elsewhere_lives_as_long_as_it_counts(
    tmp_path: Path, task: Callable[[Path], subprocess.Popen[str]]
) -> None:
    """Its process is none of this host, whatever has that number here."""
    sign = tmp_path / "head"
    write(sign, f"0 elsewhere:pid:[1] {ended()}")
    process = task(sign)
    for count in range(14):
        write(sign, f"{count} elsewhere:pid:[1] {ended()}")
        time.sleep(0.5)
    assert process.poll() is None
    assert was_told(process)


def test_without_a_sign_nothing_is_watched(tmp_path: Path, task: Callable[[Path], subprocess.Popen[str]]) -> None:
    process = task(tmp_path / "none")
    time.sleep(4)
    assert process.poll() is None


def test_the_watch_ends_with_its_task(tmp_path: Path, task: Callable[[Path], subprocess.Popen[str]]) -> None:
    sign = tmp_path / "head"
    write(sign, f"1 {HERE} {os.getpid()}")
    process = task(sign)
    process.kill()
    process.wait()

    def watches() -> str:
        return subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout

    end = time.monotonic() + 60
    while str(sign) in watches():
        assert time.monotonic() < end
        time.sleep(0.2)
