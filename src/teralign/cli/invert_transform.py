"""`invert-transform`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from teralign.cli import options


@click.command()
@options.transform_option
@click.option("--output", required=True, type=options.PATH, help="A .mat for affines, a .zarr field otherwise.")
@options.threads_option
@options.dry_run_option
@options.overwrite_option
@options.verbose_option
def invert_transform(output: Path, **arguments: Any) -> None:  # noqa: ANN401 - passed on by name
    """Write the inverse of transforms, moving to fixed.

    OUTPUT.residual.json tells how exact it is: how far points lie from where they were, there and back.
    """
    from teralign.tasks.invert_transform import invert_transform as task

    options.print_result(task(output=output, **arguments))
