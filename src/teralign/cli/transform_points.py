"""`transform-points`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from teralign.cli import options


@click.command()
@options.transform_option
@click.option(
    "--points", required=True, type=options.PATH, help="Table with columns x, y, z in µm; further columns are kept."
)
@click.option("--output", required=True, type=options.PATH, help="Table to write, in the same order.")
@click.option("--inverse", is_flag=True, help="Map points of the moving volume to the fixed one instead.")
@options.threads_option
@options.overwrite_option
@options.verbose_option
def transform_points(points: Path, output: Path, **arguments: Any) -> None:  # noqa: ANN401 - passed on by name
    """Map points of the fixed volume to the moving volume; with --inverse, from moving to fixed.

    Spots detected in the moving round need --inverse to be placed in the fixed round. Columns are found by the names
    in the first line; without such a line the first three are x, y, z. The column `space` of the output says of which
    volume its points are.
    """
    from teralign.tasks.transform_points import transform_points as task

    options.print_result(asdict(task(points, output=output, **arguments)))
