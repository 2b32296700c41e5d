"""`report`."""

from __future__ import annotations

from typing import Any

import click

from teralign.cli import options


@click.command()
@options.fixed_option
@options.moving_option
@options.transform_option
@click.option("--output-dir", required=True, type=options.PATH, help="The folder for overlay.png and metrics.json.")
@click.option("--blocks", type=options.PATH, help="The .blocks.json of local-align, to be summed up.")
@options.spacing_options
@options.channel_options
@options.threads_option
@options.overwrite_option
@options.verbose_option
def report(fixed: str, moving: str, **arguments: Any) -> None:  # noqa: ANN401 - passed on by name
    """Draw before/after pictures and collect metrics.

    overlay.png has the fixed volume in magenta and the moving one in green, white where they agree: before, after
    the global step, and after everything. metrics.json has their similarity, how the field squeezes space, and what
    became of the blocks.
    """
    from teralign.tasks.report import report as task

    options.print_result(task(fixed, moving, **arguments))
