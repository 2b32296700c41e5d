"""`estimate-bias`."""

from __future__ import annotations

import click

from teralign.cli import options, values
from teralign.grids import FloatTriple


@click.command(epilog=options.example("estimate-bias stitched.zarr bias.nrrd"))
@click.argument("volume", metavar="URI")
@click.argument("output", metavar="BIAS")
@click.option("--channel", type=click.IntRange(min=0), default=0, show_default=True, help="Channel to look at.")
@click.option(
    "--resolution",
    type=values.NumberRange(min=0, min_open=True),
    default=15.0,
    show_default=True,
    help="Voxel size in µm at which the bias is estimated; that of large volumes is coarser.",
)
@click.option("--spacing", type=values.MICROMETRES, help="Voxel size in µm, if the file does not give it.")
@options.overwrite_option
@options.json_option
@options.verbose_option
def estimate_bias(
    volume: str, output: str, channel: int, resolution: float, spacing: FloatTriple | None, overwrite: bool
) -> None:
    """Find the slow change of brightness over a volume (N4), and write the gain that undoes it to BIAS (.nrrd, …)."""
    from teralign.tasks import bias

    options.print_result(
        bias.estimate_bias(
            volume, output, channel=channel, resolution=resolution, spacing=spacing, overwrite=overwrite
        )
    )
