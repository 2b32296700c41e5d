"""`build-pyramid`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from teralign.cli import options, values
from teralign.grids import FloatTriple

if TYPE_CHECKING:
    from teralign.cluster import Compute


@click.command(epilog=options.example("build-pyramid labels.zarr --label"))
@click.argument("volume", metavar="URI")
@click.option("--spacing", type=values.MICROMETRES, help="Voxel size in µm, if the file does not give it.")
@click.option("--levels", type=click.IntRange(min=2), help="Number of scales.  [default: down to 256 voxels]")
@click.option("--label", is_flag=True, help="Coarser scales take the most frequent value instead of the mean.")
@options.cluster_options
@click.option("--work-dir", type=values.PATH, help="Folder for unfinished work.  [default: CONTAINER.partial]")
@options.dry_run_option
@click.option("--overwrite", is_flag=True, help="Replace existing coarser scales.")
@options.json_option
@options.verbose_option
@options.compute
def build_pyramid(
    volume: str,
    spacing: FloatTriple | None,
    levels: int | None,
    label: bool,
    compute: Compute,
    dry_run: bool,
    overwrite: bool,
) -> None:
    """Add coarser scales to an OME-Zarr image or an N5 group with a dataset s0, block by block, in place.

    The new scales get the data type, chunks and codecs of the finest scale, which does not change.
    """
    from teralign.tasks import build_pyramid as tasks

    task = tasks.plan_build_pyramid if dry_run else tasks.build_pyramid
    options.print_result(
        task(volume, spacing=spacing, levels=levels, label=label, compute=compute, overwrite=overwrite)
    )
