"""`apply-transform`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from teralign.cli import options, values

if TYPE_CHECKING:
    from teralign.alignment import Side
    from teralign.cluster import Compute


@click.command(
    epilog=options.example(
        "apply-transform --fixed round1.zarr --moving round2.zarr",
        "--transform transform.zarr --output warped.zarr",
    )
)
@click.option(
    "--fixed", required=True, metavar="URI", help="The volume whose grid the output gets: PATH or s3://…[/DATASET]."
)
@click.option("--moving", required=True, metavar="URI", help="The volume to warp.")
@options.transform_option
@click.option(
    "--output", metavar="URI", help="The volume to write: .zarr, .n5, .precomputed, .tif, .ome.tif or .nrrd."
)
@options.into_options
@click.option(
    "--interpolation",
    type=click.Choice(["linear", "nearest", "cubic"]),
    default="linear",
    show_default=True,
    help="Use nearest for labels.",
)
@options.spacing_options
@options.expansion_options
@click.option("--moving-channel", "channels", type=values.CHANNELS, help="Channels to warp.  [default: all]")
@click.option(
    "--moving-timepoint", "timepoint", type=click.IntRange(min=0), help="Timepoint to warp.  [default: all]"
)
@options.ome_zarr_option
@options.cluster_options
@options.work_dir_option
@options.threads_option
@options.run_options
@options.side("fixed")
@options.side("moving")
@options.compute
def apply_transform(
    fixed: Side,
    moving: Side,
    transforms: tuple[Path, ...],
    output: str | None,
    into: str | None,
    slot: tuple[int, int] | None,
    interpolation: str,
    channels: tuple[int, ...] | None,
    timepoint: int | None,
    ome_zarr: str | None,
    compute: Compute,
    dry_run: bool,
    overwrite: bool,
) -> None:
    """Warp a volume onto the fixed grid, block by block: every channel and timepoint, with a pyramid."""
    from teralign.tasks import apply_transform as tasks

    task = tasks.plan_apply_transform if dry_run else tasks.apply_transform
    options.print_result(
        task(
            fixed,
            moving,
            transforms=transforms,
            output=output,
            into=into,
            slot=slot,
            interpolation=interpolation,
            channels=channels,
            timepoint=timepoint,
            ome_zarr=ome_zarr,
            compute=compute,
            overwrite=overwrite,
        )
    )
