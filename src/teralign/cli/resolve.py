"""`teralign resolve`."""

from __future__ import annotations

from pathlib import Path

import click

from teralign.cli import options, values


@click.command(epilog=options.example("teralign resolve parameters.json --folder /data"))
@click.argument("parameters", type=values.PATH, metavar="PARAMETERS.json")
@click.option(
    "--folder", type=values.PATH, default=".", help="Where relative paths start.  [default: the current folder]"
)
@options.json_option
@options.verbose_option
def resolve(parameters: Path, folder: Path) -> None:
    """Look up what a pipeline run aligns, as the pipeline does before it starts.

    PARAMETERS.json holds the pipeline's parameters by name. The output is one JSON object: for each pair the files to
    stage, the datasets that each task reads, and the options of each task.
    """
    from teralign.tasks.resolve import resolve as task

    options.print_result(task(parameters, folder=folder))
