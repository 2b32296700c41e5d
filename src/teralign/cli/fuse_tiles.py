"""`fuse-tiles`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from teralign.cli import options, values
from teralign.grids import FloatTriple, Triple

if TYPE_CHECKING:
    from teralign.cluster import Compute


@click.command(epilog=options.example("fuse-tiles solved.json stitched.zarr --weights cosine"))
@click.argument("tiles", type=values.PATH, metavar="TILES.json")
@click.argument("output", metavar="[OUTPUT]", required=False)
@options.into_options
@click.option("--flatfield", type=values.PATH, help="Flat field of estimate-flatfield, taken out of each tile.")
@click.option("--refinement", type=values.PATH, help="Folder of refine-tiles, by which bent tiles are sampled.")
@click.option(
    "--weights",
    type=click.Choice(["none", "linear", "cosine", "distance", "max"]),
    default="cosine",
    show_default=True,
    help="How overlapping tiles are combined; none takes each voxel from the tile in which it lies deepest.",
)
@click.option("--ramps", type=values.MICROMETRES, help="Widths in µm of the fading.  [default: the overlap]")
@click.option(
    "--interpolation",
    type=click.Choice(["linear", "cubic"]),
    default="cubic",
    show_default=True,
    help="For positions between voxels.",
)
@click.option("--chunk-size", type=values.VOXELS, help="Voxels of a chunk.  [default: 128, in large Zarrs 64]")
@click.option("--levels", type=click.IntRange(min=1), help="Maximum number of scales.  [default: down to 256 voxels]")
@options.ome_zarr_option
@options.cluster_options
@options.work_dir_option
@options.run_options
@options.compute
def fuse_tiles(
    tiles: Path,
    output: str | None,
    into: str | None,
    slot: tuple[int, int] | None,
    flatfield: Path | None,
    refinement: Path | None,
    weights: str,
    ramps: FloatTriple | None,
    interpolation: str,
    chunk_size: Triple | None,
    levels: int | None,
    ome_zarr: str | None,
    compute: Compute,
    dry_run: bool,
    overwrite: bool,
) -> None:
    """Write the tiles of a scan at their positions as one volume with a pyramid, block by block.

    The flat field, gains and offsets of tiles and shifts of channels are applied. OUTPUT is a .zarr (OME-Zarr), .n5
    or .precomputed, on disk or in a bucket, or one file without a pyramid: .tif, .ome.tif or .nrrd.
    """
    from teralign.tasks import fuse_tiles as tasks

    task = tasks.plan_fuse_tiles if dry_run else tasks.fuse_tiles
    options.print_result(
        task(
            tiles,
            output,
            into=into,
            slot=slot,
            flatfield=flatfield,
            refinement=refinement,
            weights=weights,
            ramps=ramps,
            interpolation=interpolation,
            chunk_size=chunk_size,
            levels=levels,
            ome_zarr=ome_zarr,
            compute=compute,
            overwrite=overwrite,
        )
    )
