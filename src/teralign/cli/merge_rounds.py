"""`merge-rounds`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from teralign.cli import options, values

if TYPE_CHECKING:
    from teralign.cluster import Compute


@click.command(epilog=options.example("merge-rounds rounds.csv all.zarr"))
@click.argument("table", type=values.PATH)
@click.argument("output")
@click.option(
    "--interpolation",
    type=click.Choice(["linear", "nearest", "cubic"]),
    default="linear",
    show_default=True,
    help="How moving voxels are interpolated; nearest for labels.",
)
@options.ome_zarr_option
@options.cluster_options
@options.threads_option
@options.work_dir_option
@options.run_options
@options.compute
def merge_rounds(
    table: Path,
    output: str,
    interpolation: str,
    ome_zarr: str | None,
    compute: Compute,
    dry_run: bool,
    overwrite: bool,
) -> None:
    """Write the channels of all rounds in TABLE as one volume OUTPUT, on the grid of their fixed volume.

    TABLE is a CSV file with the columns id, fixed, moving, transform, as for compare-rounds; all rows have one fixed
    volume. Its channels come first, then those of each row, named after its id. Nothing has to be warped before: the
    moving volumes are warped block by block. After an interruption, the same command continues.
    """
    from teralign.tasks import merge_rounds as tasks

    task = tasks.plan_merge_rounds if dry_run else tasks.merge_rounds
    options.print_result(
        task(table, output, compute=compute, interpolation=interpolation, ome_zarr=ome_zarr, overwrite=overwrite)
    )
