"""`report`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from teralign.cli import options, values

if TYPE_CHECKING:
    from teralign.alignment import Side


@click.command(
    epilog=options.example(
        "teralign report --fixed round1.zarr --moving round2.zarr",
        "--transform transform.zarr",
        "--blocks transform.blocks.json --output-dir report",
    )
)
@options.fixed_option
@options.moving_option
@options.transform_option
@click.option("--output-dir", required=True, type=values.PATH, help="The folder for overlay.png and metrics.json.")
@click.option("--global-report", type=values.PATH, help="The .json of global-align, to summarise in metrics.json.")
@click.option("--blocks", type=values.PATH, help="The .blocks.json of local-align, to summarise in metrics.json.")
@options.spacing_options
@options.expansion_options
@options.channel_options
@options.timepoint_options
@options.threads_option
@options.overwrite_option
@options.json_option
@options.verbose_option
@options.side("fixed")
@options.side("moving")
def report(
    fixed: Side,
    moving: Side,
    transforms: tuple[Path, ...],
    output_dir: Path,
    global_report: Path | None,
    blocks: Path | None,
    threads: int | None,
    overwrite: bool,
) -> None:
    """Draw before/after pictures of an alignment and measure it.

    overlay.png shows the fixed volume in magenta and the moving volume in green, and is white where they agree. Its
    columns show the volumes before alignment, after the affines, and after all transforms. metrics.json has the
    similarity of the volumes in each column, the folds of the fields, and a summary of the steps and the blocks, with
    what they started from or skipped.
    """
    from teralign.tasks.report import report as task

    options.print_result(
        task(
            fixed,
            moving,
            transforms=transforms,
            output_dir=output_dir,
            global_report=global_report,
            blocks=blocks,
            threads=threads,
            overwrite=overwrite,
        )
    )
