"""`align-tiles`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from teralign.cli import options, values
from teralign.grids import FloatTriple

if TYPE_CHECKING:
    from teralign.cluster import Compute


@click.command(epilog=options.example("align-tiles tiles.json pairs.json"))
@click.argument("tiles", type=values.PATH, metavar="TILES.json")
@click.argument("output", type=values.PATH, metavar="PAIRS.json")
@click.option(
    "--channel", type=click.IntRange(min=0), default=0, show_default=True, help="Channel that decides for all."
)
@click.option(
    "--search",
    type=values.MICROMETRES,
    help="How far two tiles may be off the stage's distance, in µm.  [default: 24 voxels]",
)
@click.option(
    "--pieces",
    type=click.IntRange(1, 16),
    default=1,
    show_default=True,
    help="Pieces of each overlap along each axis, measured too, for solve-tiles --tile-model rigid or affine.",
)
@click.option(
    "--channel-shifts", is_flag=True, help="Measure the shift of each other channel against --channel, within tiles."
)
@click.option("--skip-unreadable", is_flag=True, help="Name tiles that cannot be read, and go on without them.")
@options.cluster_options
@options.work_dir_option
@options.run_options
@options.compute
def align_tiles(
    tiles: Path,
    output: Path,
    channel: int,
    search: FloatTriple | None,
    pieces: int,
    channel_shifts: bool,
    skip_unreadable: bool,
    compute: Compute,
    dry_run: bool,
    overwrite: bool,
) -> None:
    """Measure the shift between each two tiles that overlap, and write all to PAIRS.json.

    Shifts are against the stage's positions, with their errors and the evidence. solve-tiles makes positions of them.
    """
    from teralign.tasks import align_tiles as tasks

    task = tasks.plan_align_tiles if dry_run else tasks.align_tiles
    options.print_result(
        task(
            tiles,
            output,
            compute=compute,
            channel=channel,
            search=search,
            pieces=pieces,
            channel_shifts=channel_shifts,
            skip_unreadable=skip_unreadable,
            overwrite=overwrite,
        )
    )
