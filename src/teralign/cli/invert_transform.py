"""`invert-transform`."""

from __future__ import annotations

from pathlib import Path

import click

from teralign.cli import options, values


@click.command(epilog=options.example("invert-transform --transform transform.zarr --output inverse.zarr"))
@options.transform_option
@click.option("--output", required=True, type=values.PATH, help="A .mat for affines, otherwise a .zarr field.")
@options.threads_option
@options.run_options
def invert_transform(
    transforms: tuple[Path, ...], output: Path, threads: int | None, dry_run: bool, overwrite: bool
) -> None:
    """Write the inverse of transforms, which maps points of the moving volume to the fixed volume.

    OUTPUT.residual.json gives its accuracy: the distance between points and their images there and back.
    """
    from teralign.tasks import invert_transform as tasks

    task = tasks.plan_invert_transform if dry_run else tasks.invert_transform
    options.print_result(task(transforms, output, threads=threads, overwrite=overwrite))
