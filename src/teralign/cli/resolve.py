"""`teralign resolve`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from teralign import __version__
from teralign.cli import options


@click.command()
@click.argument("parameters", type=options.PATH, metavar="PARAMETERS.json")
@click.option(
    "--folder", type=options.PATH, default=".", help="Where relative paths start.  [default: the current folder]"
)
@options.verbose_option
def resolve(parameters: Path, folder: Path) -> None:
    """Look up what a pipeline run aligns, as the pipeline does before it starts.

    PARAMETERS.json holds the pipeline's parameters by name. Printed is one JSON object: for each pair the files to
    stage, the datasets that each task reads, and its options.
    """
    from teralign.tasks.resolve import resolve as task

    found = asdict(task(parameters, folder=folder))
    click.echo(json.dumps({"format": 1, "teralign": __version__, **found}, default=str))
