"""The help of commands: groups, an example each, and option values that commands take."""

from __future__ import annotations

import shlex
import tomllib
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from teralign.cli import main, options, values
from teralign.cli.main import COMMANDS, GROUPS, group, load_command

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"


def test_commands_are_listed_in_groups():
    lines = CliRunner().invoke(group, ["--help"]).output.splitlines()
    at = [lines.index(f"{title}:") for title in GROUPS]
    assert at == sorted(at)
    for title, commands in GROUPS.items():
        start = lines.index(f"{title}:") + 1
        described = [line.split(maxsplit=1) for line in lines[start : start + len(commands)]]
        assert described == [list(item) for item in commands.items()]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_help_has_an_example_that_the_command_takes(name):
    command = load_command(name)
    assert "Example:\n" in CliRunner().invoke(command, ["--help"]).output
    words = shlex.split(command.epilog.split("Example:\n")[1].replace("\\\n", " "))
    assert words.pop(0) in (name, "teralign")
    if words[0] == name:
        words.pop(0)
    with command.make_context(name, words) as context:
        assert context.params


def test_console_scripts_are_the_commands():
    scripts = tomllib.loads(PYPROJECT.read_text())["project"]["scripts"]
    assert set(COMMANDS) - set(scripts) == {"doctor", "index-container", "resolve"}
    for name, target in scripts.items():
        module, function = target.split(":")
        assert module == main.__name__
        assert callable(getattr(main, function)), name
    with pytest.raises(AttributeError):
        main.no_command  # noqa: B018


@click.command()
@options.fixed_option
@options.spacing_options
@options.mask_options
@options.cluster_options
@options.work_dir_option
@options.side("fixed")
@options.compute
def example_command(fixed, moving_spacing, moving_mask, moving_mask_labels, compute):
    click.echo(f"{fixed} {compute}")


def test_options_become_one_value():
    given = "--fixed a.zarr --fixed-spacing 1,2,3 --fixed-mask auto --workers 2 --work-dir w"
    said = CliRunner().invoke(example_command, given.split()).output
    assert "Side(uri='a.zarr', spacing=(3.0, 2.0, 1.0), channel=0" in said
    assert "mask='auto', mask_labels=None, roi=None, expansion=1.0)" in said
    assert "Compute(scheduler=None, workers=2" in said
    assert "work_dir=PosixPath('w')" in said


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (values.VOXELS, "1,2,3", (3, 2, 1)),
        (values.VOXELS, "5", (5, 5, 5)),
        (values.MICROMETRES, "0.5,1,2", (2.0, 1.0, 0.5)),
        (values.RANGES, "1:2,:5,:", ((None, None), (None, 5), (1, 2))),
        (values.NAMES, " a, b,,c", ("a", "b", "c")),
        (values.LABELS, "-1,4", (-1, 4)),
    ],
)
def test_values_are_parsed(kind, text, value):
    assert kind.convert(text, None, None) == value
    assert kind.convert(value, None, None) == value


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (values.VOXELS, "1,2"),
        (values.VOXELS, "0"),
        (values.VOXELS, "1.5"),
        (values.MICROMETRES, "nan"),
        (values.MICROMETRES, "1,inf,1"),
        (values.RANGES, "1:2,3:4"),
        (values.RANGES, "1:2,3:4,5"),
        (values.CHANNELS, "-1"),
        (values.LABELS, "a"),
        (values.PATH, "s3://bucket/a"),
    ],
)
def test_other_values_are_refused(kind, text):
    with pytest.raises(click.UsageError):
        kind.convert(text, None, None)
