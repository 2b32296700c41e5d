"""`local-align`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from teralign.cli import options, values
from teralign.grids import FloatTriple, Triple

if TYPE_CHECKING:
    from teralign.alignment import Side
    from teralign.cluster import Compute
    from teralign.trust import Gates


@click.command(
    epilog=options.example(
        "local-align --fixed round1.zarr --moving round2.zarr",
        "--initial-transform affine.mat --output transform.zarr",
    )
)
@options.fixed_option
@options.moving_option
@options.steps_options
@options.initial_option
@click.option("--output", required=True, type=values.PATH, help="The map to write, a .zarr group.")
@click.option(
    "--block-size",
    type=values.VOXELS,
    help="Voxels of a block, x,y,z (block_size in the YAML is z,y,x).  [default: the config's]",
)
@click.option(
    "--block-overlap",
    type=values.NumberRange(0, 0.5, max_open=False),
    help="Overlap of neighbouring blocks, as a share of the block size.  [default: the config's]",
)
@click.option(
    "--field-spacing",
    type=values.MICROMETRES,
    help="Distance between nodes of the field in µm, rounded to whole voxels.  [default: 4 voxels]",
)
@click.option(
    "--max-failed-blocks",
    "--max-failed",
    "max_failed",
    type=values.NumberRange(0, 1),
    default=0.5,
    show_default=True,
    help="Maximum share of failed blocks; with more, the command stops with exit code 4.",
)
@click.option(
    "--error/--no-error",
    default=True,
    show_default=True,
    help="Estimate the error that remains, in µm: by block, and as a volume, OUTPUT.error.zarr.",
)
@options.gates("min_correlation", "max_folded", "max_error_um")
@options.side_options
@options.cluster_options
@options.work_dir_option
@options.seed_option
@options.threads_option
@options.run_options
@options.side("fixed")
@options.side("moving")
@options.compute
def local_align(
    fixed: Side,
    moving: Side,
    output: Path,
    initial_transforms: tuple[Path, ...],
    steps: tuple[str, ...] | None,
    config: Path | None,
    block_size: Triple | None,
    block_overlap: float | None,
    field_spacing: FloatTriple | None,
    max_failed: float,
    gates: Gates,
    compute: Compute,
    seed: int,
    error: bool,
    dry_run: bool,
    overwrite: bool,
) -> None:
    """Refine an alignment block by block, on a Dask cluster.

    Writes the whole map from fixed to moving points: a displacement field on a coarse grid, then the initial
    transforms. OUTPUT.blocks.json beside it has the state and metrics of each block. After an interruption, the same
    command continues.
    """
    from teralign.alignment import BlockOptions
    from teralign.tasks import local_align as tasks

    blocks = BlockOptions(block_size, block_overlap, field_spacing, max_failed)
    given = tasks.LocalAlignOptions(
        initial_transforms=initial_transforms,
        steps=steps,
        config=config,
        blocks=blocks,
        gates=gates,
        compute=compute,
        seed=seed,
        error=error,
        overwrite=overwrite,
    )
    if dry_run:
        options.print_result(tasks.plan_local_align(fixed, moving, output=output, **given))
    else:
        options.conclude(tasks.local_align(fixed, moving, output=output, **given))
