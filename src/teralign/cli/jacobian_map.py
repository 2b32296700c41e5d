"""`jacobian-map`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from teralign.cli import options


@click.command()
@options.transforms_argument
@click.argument("output")
@options.node_options
@options.ome_zarr_option
@options.work_dir_option
@options.threads_option
@options.dry_run_option
@options.overwrite_option
@options.verbose_option
def jacobian_map(transforms: tuple[Path, ...], output: str, **arguments: Any) -> None:  # noqa: ANN401 - passed on by name
    """Write by what factor TRANSFORMS, outermost first, scale volume: OUTPUT, a volume of float32 (.zarr, .tif, …).

    1 leaves volume as it is, 2 doubles it, 0 or less is a fold. OUTPUT.summary.json has the least value, percentiles
    and the share that is folded. A run that was cut off goes on where it stopped when the same command is given
    again.
    """
    from teralign.tasks.jacobian_map import jacobian_map as task

    options.print_result(task(transforms, output, **arguments))
