"""Progress is a live bar on a terminal, and lines with their numbers in a log."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from teralign.progress import Progress, readable_time

COUNTING = """
import logging, sys, time
import click
from teralign.cli import main, options
from teralign.errors import InputError
from teralign.progress import Progress

@click.command()
@options.verbose_option
def count():
    log = logging.getLogger("teralign.example")
    progress = Progress(6, "blocks", log, interval=0.0)
    progress.skip(2)
    for number in range(4):
        time.sleep(0.2)
        progress.advance(failed=number == 1)
        log.info("block %d is done", number)
        if {stops} and number == 2:
            raise InputError("block 2 is wrong.")
    click.echo("the result")

main._leave(main.run(count, sys.argv[1:], name="count"))
"""


def on_a_terminal(script: str, *arguments: str, environment: dict[str, str] | None = None) -> tuple[str, int]:
    """Run a Python script on a terminal of 100 columns; return what it shows and the exit code."""
    leader, follower = pty.openpty()
    variables = os.environ | {"TERM": "xterm", "COLUMNS": "100"} | (environment or {})
    command = [sys.executable, "-c", script, *arguments]
    with subprocess.Popen(command, stdout=follower, stderr=follower, env=variables) as process:
        os.close(follower)
        shown = b""
        while True:
            try:
                part = os.read(leader, 65536)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            shown += part
    os.close(leader)
    return shown.decode(), process.returncode


def in_a_file(script: str, *arguments: str, path: Path) -> tuple[list[str], int]:
    with path.open("w") as stream:
        done = subprocess.run([sys.executable, "-c", script, *arguments], stderr=stream, stdout=subprocess.PIPE)
    return path.read_text().splitlines(), done.returncode


def without_colours(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def test_a_terminal_shows_a_bar_with_blocks_rate_time_left_and_failures():
    shown, code = on_a_terminal(COUNTING.format(stops=False))
    shown = without_colours(shown)
    assert code == 0
    assert re.search(r"blocks ━+[╸╺]?━* 4/6 [\d.]+(/s| s each), \d+ s left, 1 failed", shown)
    lines = [re.sub(r".*\x1b\[2K|\x1b\[\?25[hl]", "", line).strip() for line in shown.split("\r\n")]
    assert any(re.fullmatch(r"\d\d:\d\d:\d\d block 1 is done", line) for line in lines)
    assert re.search(r"blocks: 6 of 6 \(100 %\), 1 failed in \d s", shown)
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h")  # the cursor is shown again
    assert lines[-2].endswith("the result")


def test_an_error_takes_the_bar_away_and_shows_the_cursor():
    shown, code = on_a_terminal(COUNTING.format(stops=True))
    assert code == 2
    assert shown.rstrip().endswith("Error: block 2 is wrong.")
    assert shown.rindex("\x1b[?25h") < shown.rindex("Error:")


def test_a_terminal_that_cannot_move_its_cursor_gets_lines():
    shown, code = on_a_terminal(COUNTING.format(stops=False), environment={"TERM": "dumb"})
    assert code == 0
    assert "\x1b" not in shown
    assert "blocks: 4 of 6 (66 %), 1 failed, " in shown


def test_a_file_gets_lines(tmp_path):
    lines, code = in_a_file(COUNTING.format(stops=False), path=tmp_path / "log")
    assert code == 0
    progress = [line for line in lines if "blocks: " in line]
    assert re.fullmatch(r"\d\d:\d\d:\d\d blocks: 3 of 6 \(50 %\), \d s left", progress[0])
    assert re.fullmatch(r"\d\d:\d\d:\d\d blocks: 6 of 6 \(100 %\), 1 failed in \d s", progress[-1])


@pytest.mark.parametrize("as_variable", [False, True])
def test_a_json_log_has_one_object_a_line(tmp_path, monkeypatch, as_variable):
    if as_variable:
        monkeypatch.setenv("TERALIGN_JSON_LOG", "1")
    options = [] if as_variable else ["--json-log"]
    lines, code = in_a_file(COUNTING.format(stops=True), *options, path=tmp_path / "log")
    assert code == 2
    entries = [json.loads(line) for line in lines]
    assert all({"time", "level", "logger", "message"} <= entry.keys() for entry in entries)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", entries[0]["time"])
    counts = [entry for entry in entries if "done" in entry]
    assert [(entry["done"], entry["total"], entry["failed"]) for entry in counts] == [(3, 6, 0), (4, 6, 1), (5, 6, 1)]
    assert all(entry["seconds_left"] > 0 for entry in counts)
    assert (entries[-1]["level"], entries[-1]["message"]) == ("error", "Error: block 2 is wrong.")


def test_a_json_log_stays_json_on_a_terminal_and_with_a_traceback():
    shown, code = on_a_terminal(COUNTING.format(stops=True), "--json-log", "--verbose")
    assert code == 2
    last = json.loads(shown.split("\r\n")[-2])
    assert "InputError" in last["traceback"]


def test_lines_of_long_work_come_less_often(monkeypatch):
    import logging

    clock = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: clock)
    lines = []
    log = logging.Logger("example")
    log.addHandler(type("Kept", (logging.Handler,), {"emit": lambda _, record: lines.append(record)})())
    progress = Progress(36_000, "blocks", log)
    for _ in range(36_000):
        clock += 1.0
        progress.advance()
    assert 600 < len(lines) < 750
    assert lines[-1].progress.seconds_left == 0.0


@pytest.mark.parametrize(("seconds", "text"), [(8.4, "8 s"), (200, "3 min 20 s"), (7500, "2 h 05 min")])
def test_durations_are_written_as_people_do(seconds, text):
    assert readable_time(seconds) == text
