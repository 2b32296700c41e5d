"""`transform-points`."""

from __future__ import annotations

from pathlib import Path

import click

from teralign.cli import options, values


@click.command(
    epilog=options.example(
        "transform-points --transform transform.zarr",
        "--points spots_in_fixed.csv --output spots_in_moving.csv",
    )
)
@options.transform_option
@click.option(
    "--points", required=True, type=values.PATH, help="Table with columns x, y, z in µm; further columns are kept."
)
@click.option("--output", required=True, type=values.PATH, help="Table to write, in the same order.")
@click.option("--inverse", is_flag=True, help="Map points of the moving volume to the fixed volume instead.")
@options.expansion_options
@options.threads_option
@options.overwrite_option
@options.json_option
@options.verbose_option
def transform_points(
    transforms: tuple[Path, ...],
    points: Path,
    output: Path,
    inverse: bool,
    fixed_expansion: float,
    moving_expansion: float,
    threads: int | None,
    overwrite: bool,
) -> None:
    """Map points of the fixed volume to the moving volume; with --inverse, from moving to fixed.

    Spots detected in the moving round need --inverse to be placed in the fixed round. Columns are found by the names
    in the first line; in a table without names, the first three columns are x, y, z. The column `space` of the output
    names the volume of its points.
    """
    from teralign.tasks.transform_points import transform_points as task

    options.print_result(
        task(
            points,
            transforms=transforms,
            output=output,
            inverse=inverse,
            expansion=moving_expansion if inverse else fixed_expansion,
            threads=threads,
            overwrite=overwrite,
        )
    )
