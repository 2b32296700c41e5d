"""`global-align`."""

from __future__ import annotations

from pathlib import Path

import click

from teralign.cli import options
from teralign.grids import FloatTriple
from teralign.results import document


@click.command()
@options.fixed_option
@options.moving_option
@options.steps_options
@click.option("--output", required=True, type=options.PATH, help="affine.mat, or a .zarr field with a deform step.")
@click.option("--aligned", metavar="URI", help="Also write the moving volume as it lies after alignment.")
@options.ome_zarr_option
@options.mask_options
@options.spacing_options
@options.channel_options
@options.timepoint_options
@options.threads_option
@options.seed_option
@options.dry_run_option
@options.overwrite_option
@options.verbose_option
def global_align(
    fixed: str,
    moving: str,
    *,
    output: Path,
    steps: tuple[str, ...] | None,
    config: Path | None,
    aligned: str | None,
    ome_zarr: str | None,
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
    threads: int | None,
    seed: int,
    dry_run: bool,
    overwrite: bool,
) -> None:
    """Align two whole volumes in memory.

    Writes a 4×4 matrix that maps fixed to moving points (z,y,x in µm), and beside it a JSON report of the steps.
    """
    from teralign.alignment import Side
    from teralign.tasks import global_align as task

    sides = (
        Side(fixed, fixed_spacing, fixed_channel, fixed_timepoint, fixed_mask, fixed_mask_labels),
        Side(moving, moving_spacing, moving_channel, moving_timepoint, moving_mask, moving_mask_labels),
    )
    if dry_run:
        plan = task.plan_global_align(
            *sides,
            output=output,
            steps=steps,
            config=config,
            aligned=aligned,
            ome_zarr=ome_zarr,
            threads=threads,
            overwrite=overwrite,
        )
        options.print_result(document(plan))
        return
    result = task.global_align(
        *sides,
        output=output,
        steps=steps,
        config=config,
        aligned=aligned,
        ome_zarr=ome_zarr,
        threads=threads,
        seed=seed,
        overwrite=overwrite,
    )
    options.print_result(document(result))
