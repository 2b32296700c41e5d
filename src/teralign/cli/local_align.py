"""`local-align`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from teralign.cli import options


@click.command()
@options.fixed_option
@options.moving_option
@options.steps_options
@click.option(
    "--initial-transform",
    "initial_transforms",
    multiple=True,
    type=options.PATH,
    help="The alignment to refine; repeats, outermost first.  [default: none]",
)
@click.option("--output", required=True, type=options.PATH, help="The displacement field to write, a .zarr group.")
@click.option("--block-size", type=options.VOXELS, help="Voxels of a block, x,y,z.  [default: the config's]")
@click.option(
    "--block-overlap",
    type=click.FloatRange(0, 0.5, max_open=False),
    help="How far blocks reach into their neighbours, as a share of the block.  [default: the config's]",
)
@click.option(
    "--field-spacing",
    type=options.MICROMETRES,
    help="Distance in µm of the field's nodes, rounded to whole voxels.  [default: 4 voxels]",
)
@click.option(
    "--max-failed",
    type=click.FloatRange(0, 1),
    default=0.5,
    show_default=True,
    help="Share of blocks that may fail before the run counts as failed.",
)
@options.mask_options
@options.spacing_options
@options.channel_options
@options.timepoint_options
@options.cluster_options
@options.work_dir_option
@options.seed_option
@options.threads_option
@options.dry_run_option
@options.overwrite_option
@options.verbose_option
def local_align(fixed: str, moving: str, output: Path, **arguments: Any) -> None:  # noqa: ANN401 - passed on by name
    """Refine an alignment block by block, on a Dask cluster.

    Writes a displacement field on a coarse grid, and beside it OUTPUT.blocks.json with the state and metrics of each
    block. A run that was cut off goes on where it stopped when the same command is given again.
    """
    from teralign.tasks.local_align import local_align as task

    options.print_result(task(fixed, moving, output=output, **arguments))
