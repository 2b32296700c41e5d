"""`jacobian-map`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from teralign.cli import options
from teralign.grids import FloatTriple

if TYPE_CHECKING:
    from teralign.alignment import Side


@click.command(epilog=options.example("jacobian-map transform.zarr jacobian.zarr --fixed round1.zarr"))
@options.transforms_argument
@click.argument("output")
@options.node_options
@options.ome_zarr_option
@options.work_dir_option
@options.threads_option
@options.run_options
@options.side("fixed")
def jacobian_map(
    transforms: tuple[Path, ...],
    output: str,
    fixed: Side | None,
    grid_spacing: FloatTriple | None,
    ome_zarr: str | None,
    work_dir: Path | None,
    threads: int | None,
    dry_run: bool,
    overwrite: bool,
) -> None:
    """Write the Jacobian determinant of TRANSFORMS (outermost first) to OUTPUT, a float32 volume (.zarr, .tif, …).

    The determinant is the factor of the local change of volume: 1 is no change, 2 is twice the volume, 0 or less is
    a fold. OUTPUT.summary.json has its minimum, percentiles and the share of folds. After an interruption, the same
    command continues.
    """
    from teralign.tasks import jacobian_map as tasks

    task = tasks.plan_jacobian_map if dry_run else tasks.jacobian_map
    options.print_result(
        task(
            transforms,
            output,
            fixed=fixed,
            grid_spacing=grid_spacing,
            ome_zarr=ome_zarr,
            work_dir=work_dir,
            threads=threads,
            overwrite=overwrite,
        )
    )
