"""`compose-transforms`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from teralign.cli import options, values
from teralign.grids import FloatTriple

if TYPE_CHECKING:
    from teralign.alignment import Side


@click.command(epilog=options.example("compose-transforms second.zarr first.zarr combined.zarr"))
@options.transforms_argument
@click.argument("output", type=values.PATH)
@options.node_options
@options.threads_option
@options.run_options
@options.side("fixed")
def compose_transforms(
    transforms: tuple[Path, ...],
    output: Path,
    fixed: Side | None,
    grid_spacing: FloatTriple | None,
    threads: int | None,
    dry_run: bool,
    overwrite: bool,
) -> None:
    """Combine TRANSFORMS into one OUTPUT.

    TRANSFORMS are listed outermost first: the last one acts first on a point of the fixed volume.

    Affines give one affine, a .mat or .zarr. With a field among them the output is a field, a .zarr, sampled at the
    nodes of a grid; OUTPUT.residual.json says how far it differs from TRANSFORMS between the nodes.
    """
    from teralign.tasks import compose_transforms as tasks

    task = tasks.plan_compose_transforms if dry_run else tasks.compose_transforms
    options.print_result(
        task(
            transforms,
            output,
            fixed=fixed,
            grid_spacing=grid_spacing,
            threads=threads,
            overwrite=overwrite,
        )
    )
