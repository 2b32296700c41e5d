"""Values on the command line."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from teralign.cli.values import NAMES, NumberRange


@pytest.mark.parametrize(
    ("arguments", "steps"),
    [
        ([], None),
        (["--steps", ""], ()),
        (["--steps", " "], ()),
        (["--steps", "ransac, affine"], ("ransac", "affine")),
    ],
)
def test_an_empty_list_of_names_differs_from_none(arguments, steps):
    given = []

    @click.command()
    @click.option("--steps", type=NAMES)
    def command(steps):
        given.append(steps)

    assert CliRunner().invoke(command, arguments).exit_code == 0
    assert given == [steps]


@pytest.mark.parametrize("text", ["nan", "inf", "-1", "x"])
def test_a_limit_is_a_finite_number(text):
    @click.command()
    @click.option("--limit", type=NumberRange(min=0))
    def command(limit):
        raise AssertionError(limit)

    done = CliRunner().invoke(command, ["--limit", text])
    assert done.exit_code == 2
    assert "Invalid value for '--limit'" in done.output
