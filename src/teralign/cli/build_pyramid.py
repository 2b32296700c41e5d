"""`build-pyramid`."""

from __future__ import annotations

from typing import Any

import click

from teralign.cli import options


@click.command()
@click.argument("volume", metavar="URI")
@click.option("--spacing", type=options.MICROMETRES, help="Voxel spacing in µm where the file does not say it.")
@click.option("--levels", type=click.IntRange(min=2), help="Scales in all.  [default: down to 256 voxels]")
@click.option("--label", is_flag=True, help="Coarser scales have the most frequent value, not the mean.")
@options.cluster_options
@click.option("--work-dir", type=options.PATH, help="Where unfinished work lies.  [default: CONTAINER.partial]")
@options.dry_run_option
@click.option("--overwrite", is_flag=True, help="Replace coarser scales that exist.")
@options.verbose_option
def build_pyramid(volume: str, **arguments: Any) -> None:  # noqa: ANN401 - passed on by name
    """Add coarser scales to an OME-Zarr image or an N5 group with a dataset s0, block by block, in place.

    They have the type, chunks and codecs of the finest one, which is only read.
    """
    from teralign.tasks.build_pyramid import build_pyramid as task

    options.print_result(task(volume, **arguments))
