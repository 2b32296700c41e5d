"""`convert-volume`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from teralign.cli import options, values
from teralign.grids import FloatTriple, Range, Triple

if TYPE_CHECKING:
    from teralign.cluster import Compute

DTYPES = ["bool", *(f"{kind}{bits}" for kind in ("uint", "int") for bits in (8, 16, 32, 64)), "float32", "float64"]


@click.command(
    epilog=options.example("convert-volume stack.tif stack.zarr --channel 0 --crop 100:200,0:50,:"),
)
@click.argument("volume", metavar="INPUT")
@click.argument("output", metavar="[OUTPUT]", required=False)
@options.into_options
@click.option("--channel", type=click.IntRange(min=0), help="Channel to write.  [default: all]")
@click.option("--timepoint", type=click.IntRange(min=0), help="Timepoint to write.  [default: all]")
@click.option("--crop", type=values.RANGES, help="Voxels to write, x,y,z, such as 100:200,0:50,: (end excluded).")
@click.option("--spacing", type=values.MICROMETRES, help="Voxel size in µm; overrides the file's metadata.")
@click.option(
    "--dtype", type=click.Choice(DTYPES), help="Data type; values are rounded and saturated.  [default: same]"
)
@click.option("--chunk-size", type=values.VOXELS, help="Voxels of a chunk.  [default: 128, in large Zarrs 64]")
@click.option("--levels", type=click.IntRange(min=1), help="Maximum number of scales.  [default: down to 256 voxels]")
@click.option("--label", is_flag=True, help="Coarser scales take the most frequent value instead of the mean.")
@options.ome_zarr_option
@options.cluster_options
@options.work_dir_option
@options.run_options
@options.compute
def convert_volume(
    volume: str,
    output: str | None,
    into: str | None,
    slot: tuple[int, int] | None,
    channel: int | None,
    timepoint: int | None,
    crop: tuple[Range, Range, Range] | None,
    spacing: FloatTriple | None,
    dtype: str | None,
    chunk_size: Triple | None,
    levels: int | None,
    label: bool,
    ome_zarr: str | None,
    compute: Compute,
    dry_run: bool,
    overwrite: bool,
) -> None:
    """Write a volume, or a part of it, with a pyramid, block by block.

    INPUT is any readable volume: PATH or s3://…[/DATASET]. OUTPUT is a .zarr (OME-Zarr), .n5 or .precomputed
    (Neuroglancer), on disk or in a bucket, or one file without a pyramid: .tif, .ome.tif or .nrrd. Give --into
    instead to add to an existing container.
    """
    from teralign.tasks import convert_volume as tasks

    task = tasks.plan_convert_volume if dry_run else tasks.convert_volume
    options.print_result(
        task(
            volume,
            output,
            into=into,
            slot=slot,
            channel=channel,
            timepoint=timepoint,
            crop=crop,
            spacing=spacing,
            dtype=dtype,
            chunk_size=chunk_size,
            levels=levels,
            label=label,
            ome_zarr=ome_zarr,
            compute=compute,
            overwrite=overwrite,
        )
    )
