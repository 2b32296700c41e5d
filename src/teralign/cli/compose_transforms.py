"""`compose-transforms`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from teralign.cli import options


@click.command()
@options.transforms_argument
@click.argument("output", type=options.PATH)
@options.node_options
@options.threads_option
@options.dry_run_option
@options.overwrite_option
@options.verbose_option
def compose_transforms(transforms: tuple[Path, ...], output: Path, **arguments: Any) -> None:  # noqa: ANN401 - passed on by name
    """Write TRANSFORMS, outermost first, as one OUTPUT.

    Affines make one affine, a .mat; with a field among them the output is a field, a .zarr, sampled at the nodes of a
    grid. OUTPUT.residual.json tells how far it is from the transforms between its nodes.
    """
    from teralign.tasks.compose_transforms import compose_transforms as task

    options.print_result(task(transforms, output, **arguments))
