"""`apply-transform`."""

from __future__ import annotations

from typing import Any

import click

from teralign.cli import options


@click.command()
@click.option(
    "--fixed", required=True, metavar="URI", help="The volume whose grid the output gets: PATH or s3://…[/DATASET]."
)
@click.option("--moving", required=True, metavar="URI", help="The volume to warp.")
@options.transform_option
@click.option(
    "--output",
    required=True,
    metavar="URI",
    help="The volume to write: .zarr, .n5, .precomputed, .tif, .ome.tif or .nrrd.",
)
@click.option(
    "--interpolation",
    type=click.Choice(["linear", "nearest", "cubic"]),
    default="linear",
    show_default=True,
    help="Labels want nearest.",
)
@options.spacing_options
@click.option("--moving-channel", "moving_channels", type=options.CHANNELS, help="Only these.  [default: all]")
@click.option("--moving-timepoint", type=click.IntRange(min=0), help="Only this timepoint.  [default: all]")
@options.ome_zarr_option
@options.cluster_options
@options.work_dir_option
@options.threads_option
@options.dry_run_option
@options.overwrite_option
@options.verbose_option
def apply_transform(fixed: str, moving: str, output: str, **arguments: Any) -> None:  # noqa: ANN401 - passed on by name
    """Warp a volume onto the fixed grid, block by block: every channel and timepoint, with a pyramid."""
    from teralign.tasks.apply_transform import apply_transform as task

    options.print_result(task(fixed, moving, output=output, **arguments))
