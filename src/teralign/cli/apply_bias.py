"""`apply-bias`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from teralign.cli import options, values
from teralign.grids import FloatTriple

if TYPE_CHECKING:
    from teralign.cluster import Compute


@click.command(epilog=options.example("apply-bias stitched.zarr bias.nrrd even.zarr"))
@click.argument("volume", metavar="URI")
@click.argument("bias", metavar="BIAS")
@click.argument("output", metavar="OUTPUT")
@click.option("--channel", type=click.IntRange(min=0), help="Channel to write, of a volume with several.")
@click.option("--spacing", type=values.MICROMETRES, help="Voxel size in µm, if the file does not give it.")
@options.cluster_options
@options.work_dir_option
@options.run_options
@options.compute
def apply_bias(
    volume: str,
    bias: str,
    output: str,
    channel: int | None,
    spacing: FloatTriple | None,
    compute: Compute,
    dry_run: bool,
    overwrite: bool,
) -> None:
    """Write a volume times the gain of estimate-bias to OUTPUT, with its pyramid; the volume stays as it is.

    Values are rounded and saturate. A volume that has been corrected is refused.
    """
    from teralign.tasks import bias as tasks

    task = tasks.plan_apply_bias if dry_run else tasks.apply_bias
    options.print_result(
        task(volume, bias, output, channel=channel, spacing=spacing, compute=compute, overwrite=overwrite)
    )
