"""The end of a command: JSON where a program reads it, a short text on a terminal."""

import json
import os
import pty
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from teralign.cli import options
from teralign.cli.main import COMMANDS, load_command
from teralign.cli.summaries import summary

SOURCE = Path(options.__file__).parent
ALIGNED = {
    "output": "affine.mat",
    "fixed": "a.zarr",
    "moving": "b.zarr",
    "steps": [{"name": "ransac", "state": "kept"}, {"name": "affine", "state": "improved"}],
    "verdict": "bad",
    "error_um": {"median": 12.345678, "p95": 20.0, "factor": 1.6},
    "assessment": {
        "sentence": "the map holds in 2 of 30 blocks",
        "advice": [{"cause": "mirrored", "sentence": "mirror the z axis", "option": None, "value": None}],
    },
    "gates": {"passed": False, "failed": [{"gate": "fail_on", "sentence": "the alignment is bad"}]},
}


def test_a_summary_begins_with_the_verdict_and_its_remedy():
    lines = summary("global-align", ALIGNED)
    assert lines[:3] == [
        "BAD: the map holds in 2 of 30 blocks",
        "  failed: the alignment is bad",
        "  try: mirror the z axis",
    ]
    assert "error                   median 12.35 µm, p95 20 µm, factor 1.6" in lines
    assert "steps                   ransac (kept), affine (improved)" in lines
    assert lines[-1].split() == ["output", "affine.mat"], "nothing follows a bad alignment"


def test_a_summary_ends_with_what_comes_next():
    lines = summary("global-align", ALIGNED | {"verdict": "good"})
    following = "local-align --fixed a.zarr --moving b.zarr --initial-transform affine.mat --output transform.zarr"
    assert lines[-1].strip() == following


def test_what_comes_next_reads_the_images_as_this_command_did():
    given = {"--fixed-spacing": "1,1,2", "--moving-channel": "1", "--fixed-mask": "my mask.tif"}
    aligned = ALIGNED | {"verdict": "good", "moving": "day 2.tif"}
    following = summary("global-align", aligned, given)[-1]
    words = shlex.split(following)
    assert words[1:5] == ["--fixed", "a.zarr", "--moving", "day 2.tif"]
    assert words[5:11] == ["--fixed-spacing", "1,1,2", "--moving-channel", "1", "--fixed-mask", "my mask.tif"]
    blockwise = aligned | {"output": "transform.zarr", "report": "transform.blocks.json"}
    words = shlex.split(summary("local-align", blockwise, given)[-1])
    assert "--fixed-mask" not in words, "report-alignment has no masks"
    assert words[words.index("--blocks") + 1] == "transform.blocks.json"
    load_command(words[0]).make_context(words[0], words[1:])


def test_options_of_the_images_are_found_on_the_command_line():
    words = [
        "--fixed",
        "a.tif",
        "--fixed-spacing=1,1,2",
        "--seed",
        "3",
        "--expansion",
        "2",
        "--moving-spacing",
        "1,1,3",
    ]
    command = load_command("global-align")
    context = command.make_context("global-align", [*words, "--moving", "b.tif", "--output", "c.mat"])
    assert options._of_the_images(context, words) == {
        "--fixed-spacing": "1,1,2",
        "--moving-spacing": "1,1,3",
        "--expansion": "2",
    }


def test_values_have_units_and_unknown_ones_are_left_out():
    lines = summary(
        "x", {"seconds": 200.0, "read_bytes": 3.2e9, "shift_um": [1.0, 2.5], "nothing": None, "dry_run": 1}
    )
    assert [line.split(maxsplit=1) for line in lines[:3]] == [
        ["seconds", "3 min 20 s"],
        ["read", "3.2 GB"],
        ["shift", "1, 2.5 µm"],
    ]
    assert "Nothing was written" in lines[-1]
    assert len(lines) == 4


SCRIPT = """
import click
from teralign.cli import options

@click.command()
@options.json_option
def example():
    options.print_result({"output": "a.zarr", "units": 3})

example()
"""


def on_a_terminal(*arguments: str) -> str:
    """What the example prints on a terminal of its own."""
    ours, theirs = pty.openpty()
    try:
        subprocess.run([sys.executable, "-c", SCRIPT, *arguments], stdout=theirs, check=True)
        return os.read(ours, 10_000).decode()
    finally:
        os.close(ours)
        os.close(theirs)


def test_a_terminal_gets_text_and_json_where_it_is_asked_for():
    text = on_a_terminal()
    assert text.split() == ["units", "3", "output", "a.zarr"]
    assert json.loads(on_a_terminal("--json"))["units"] == 3


def test_a_pipe_gets_json():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["output"] == "a.zarr"


def prints_a_result(name: str) -> bool:
    source = SOURCE / f"{name.replace('-', '_')}.py"
    return re.search(r"options\.(print_result|conclude)\(", source.read_text()) is not None


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_that_prints_a_result_takes_json(name):
    names = [option for p in load_command(name).params if isinstance(p, click.Option) for option in p.opts]
    assert ("--json" in names) == prints_a_result(name)
