"""`global-align`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from teralign.cli import options


@click.command()
@options.fixed_option
@options.moving_option
@options.steps_options
@click.option("--output", required=True, type=options.PATH, help="affine.mat, or a .zarr field with a deform step.")
@click.option("--aligned", metavar="URI", help="Also write the moving volume as it lies after alignment.")
@options.ome_zarr_option
@options.mask_options
@options.spacing_options
@options.channel_options
@options.timepoint_options
@options.threads_option
@options.seed_option
@options.dry_run_option
@options.overwrite_option
@options.verbose_option
def global_align(fixed: str, moving: str, output: Path, **arguments: Any) -> None:  # noqa: ANN401 - passed on by name
    """Align two whole volumes in memory.

    Writes a 4×4 matrix that maps fixed to moving points (z,y,x in µm), and beside it a JSON report of the steps.
    """
    from teralign.tasks.global_align import global_align as task

    options.print_result(task(fixed, moving, output=output, **arguments))
