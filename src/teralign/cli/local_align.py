"""`local-align`."""

from __future__ import annotations

from pathlib import Path

import click

from teralign.cli import options
from teralign.grids import FloatTriple, Triple
from teralign.results import document


@click.command()
@options.fixed_option
@options.moving_option
@options.steps_options
@click.option(
    "--initial-transform",
    "initial_transforms",
    multiple=True,
    type=options.PATH,
    help="The alignment to refine; repeats, outermost first.  [default: none]",
)
@click.option("--output", required=True, type=options.PATH, help="The displacement field to write, a .zarr group.")
@click.option("--block-size", type=options.VOXELS, help="Voxels of a block, x,y,z.  [default: the config's]")
@click.option(
    "--block-overlap",
    type=click.FloatRange(0, 0.5, max_open=False),
    help="How far blocks reach into their neighbours, as a share of the block.  [default: the config's]",
)
@click.option(
    "--field-spacing",
    type=options.MICROMETRES,
    help="Distance in µm of the field's nodes, rounded to whole voxels.  [default: 4 voxels]",
)
@click.option(
    "--max-failed",
    type=click.FloatRange(0, 1),
    default=0.5,
    show_default=True,
    help="Share of blocks that may fail before the run counts as failed.",
)
@options.mask_options
@options.spacing_options
@options.channel_options
@options.timepoint_options
@options.cluster_options
@options.work_dir_option
@options.seed_option
@options.threads_option
@options.dry_run_option
@options.overwrite_option
@options.verbose_option
def local_align(
    fixed: str,
    moving: str,
    *,
    output: Path,
    initial_transforms: tuple[Path, ...],
    steps: tuple[str, ...] | None,
    config: Path | None,
    block_size: Triple | None,
    block_overlap: float | None,
    field_spacing: FloatTriple | None,
    max_failed: float,
    fixed_mask: str | None,
    moving_mask: str | None,
    fixed_mask_labels: tuple[int, ...] | None,
    moving_mask_labels: tuple[int, ...] | None,
    fixed_spacing: FloatTriple | None,
    moving_spacing: FloatTriple | None,
    fixed_channel: int,
    moving_channel: int,
    fixed_timepoint: int,
    moving_timepoint: int,
    scheduler: str | None,
    workers: int | None,
    worker_cpus: int | None,
    worker_mem_gb: float | None,
    work_dir: Path | None,
    seed: int,
    threads: int | None,
    dry_run: bool,
    overwrite: bool,
) -> None:
    """Refine an alignment block by block, on a Dask cluster.

    Writes a displacement field on a coarse grid, and beside it OUTPUT.blocks.json with the state and metrics of each
    block. A run that was cut off goes on where it stopped when the same command is given again.
    """
    from teralign.alignment import BlockOptions, Side
    from teralign.cluster import Compute
    from teralign.tasks import local_align as task

    sides = (
        Side(fixed, fixed_spacing, fixed_channel, fixed_timepoint, fixed_mask, fixed_mask_labels),
        Side(moving, moving_spacing, moving_channel, moving_timepoint, moving_mask, moving_mask_labels),
    )
    blocks = BlockOptions(block_size, block_overlap, field_spacing, max_failed)
    compute = Compute(scheduler, workers, worker_cpus, worker_mem_gb, threads, work_dir)
    if dry_run:
        plan = task.plan_local_align(
            *sides,
            output=output,
            initial_transforms=initial_transforms,
            steps=steps,
            config=config,
            blocks=blocks,
            compute=compute,
            overwrite=overwrite,
        )
        options.print_result(document(plan))
        return
    result = task.local_align(
        *sides,
        output=output,
        initial_transforms=initial_transforms,
        steps=steps,
        config=config,
        blocks=blocks,
        compute=compute,
        seed=seed,
        overwrite=overwrite,
    )
    options.print_result(document(result))
