"""`global-align`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from teralign.cli import options, values

if TYPE_CHECKING:
    from teralign.alignment import Side
    from teralign.trust import Gates


@click.command(
    epilog=options.example(
        "global-align --fixed round1.zarr/s2 --moving round2.zarr/s2 --steps ransac,affine --output affine.mat"
    )
)
@options.fixed_option
@options.moving_option
@options.steps_options
@options.initial_option
@click.option("--output", required=True, type=values.PATH, help="affine.mat; a .zarr if there is a field in it.")
@click.option("--aligned", metavar="URI", help="Also write the moving volume, warped by the transform, here.")
@options.ome_zarr_option
@options.side_options
@options.gates("min_correlation", "max_folded", "max_error_um")
@options.threads_option
@options.seed_option
@options.run_options
@options.side("fixed")
@options.side("moving")
def global_align(
    fixed: Side,
    moving: Side,
    output: Path,
    initial_transforms: tuple[Path, ...],
    steps: tuple[str, ...] | None,
    config: Path | None,
    aligned: str | None,
    ome_zarr: str | None,
    gates: Gates,
    threads: int | None,
    seed: int,
    dry_run: bool,
    overwrite: bool,
) -> None:
    """Align two whole volumes in memory.

    Writes a 4×4 matrix that maps fixed to moving points (z,y,x in µm), and beside it a JSON report of the steps. It
    includes the initial transforms.
    """
    from teralign.tasks import global_align as tasks

    given = tasks.GlobalAlignOptions(
        initial_transforms=initial_transforms,
        steps=steps,
        config=config,
        aligned=aligned,
        ome_zarr=ome_zarr,
        gates=gates,
        threads=threads,
        seed=seed,
        overwrite=overwrite,
    )
    if dry_run:
        options.print_result(tasks.plan_global_align(fixed, moving, output=output, **given))
    else:
        options.conclude(tasks.global_align(fixed, moving, output=output, **given))
