"""`transform-points`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from teralign.cli import options


@click.command()
@options.transform_option
@click.option("--points", required=True, type=options.PATH, help="CSV of x,y,z in µm; further columns are kept.")
@click.option("--output", required=True, type=options.PATH, help="CSV to write, in the same order.")
@click.option("--inverse", is_flag=True, help="Map moving points to fixed ones.")
@options.threads_option
@options.overwrite_option
@options.verbose_option
def transform_points(points: Path, output: Path, **arguments: Any) -> None:  # noqa: ANN401 - passed on by name
    """Map fixed points to where they lie in the moving volume, or back with --inverse."""
    from teralign.tasks.transform_points import transform_points as task

    options.print_result(task(points, output=output, **arguments))
