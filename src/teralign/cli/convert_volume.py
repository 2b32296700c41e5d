"""`convert-volume`."""

from __future__ import annotations

from typing import Any

import click

from teralign.cli import options

DTYPES = ["bool", *(f"{kind}{bits}" for kind in ("uint", "int") for bits in (8, 16, 32, 64)), "float32", "float64"]


@click.command()
@click.argument("volume", metavar="INPUT")
@click.argument("output", metavar="OUTPUT")
@click.option("--channel", type=click.IntRange(min=0), help="Only this channel.  [default: all]")
@click.option("--timepoint", type=click.IntRange(min=0), help="Only this timepoint.  [default: all]")
@click.option("--crop", type=options.RANGES, help="Only these voxels, as 100:200,0:50,: (the end is left out).")
@click.option("--spacing", type=options.MICROMETRES, help="Voxel spacing in µm, instead of what the file says.")
@click.option(
    "--dtype", type=click.Choice(DTYPES), help="Type of the values, rounded and saturated.  [default: same]"
)
@click.option("--chunk-size", type=options.VOXELS, help="Voxels of a chunk.  [default: 128, in large Zarrs 64]")
@click.option("--levels", type=click.IntRange(min=1), help="Scales at most.  [default: down to 256 voxels]")
@click.option("--label", is_flag=True, help="Coarser scales have the most frequent value, not the mean.")
@options.ome_zarr_option
@options.cluster_options
@options.work_dir_option
@options.dry_run_option
@options.overwrite_option
@options.verbose_option
def convert_volume(volume: str, output: str, **arguments: Any) -> None:  # noqa: ANN401 - passed on by name
    """Write a volume, or a part of it, with a pyramid, block by block.

    INPUT is any volume that can be read: PATH or s3://…[/DATASET]. OUTPUT is a .zarr (OME-Zarr), .n5 or .precomputed
    (Neuroglancer), there or in a bucket, or one file without a pyramid: .tif, .ome.tif or .nrrd.
    """
    from teralign.tasks.convert_volume import convert_volume as task

    options.print_result(task(volume, output, **arguments))
