"""`refine-tiles`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from teralign.cli import options, values

if TYPE_CHECKING:
    from teralign.cluster import Compute


@click.command(epilog=options.example("refine-tiles solved.json pairs.json refinement"))
@click.argument("solved", type=values.PATH, metavar="SOLVED.json")
@click.argument("pairs", type=values.PATH, metavar="PAIRS.json")
@click.argument("output", type=values.PATH, metavar="DIRECTORY")
@click.option(
    "--wobble", is_flag=True, help="Find slices of a tile that are shifted against one another along y and x, too."
)
@click.option(
    "--smoothness",
    type=click.FloatRange(min=0, min_open=True),
    help="Length in µm below which bends are not followed.  [default: as short as the images tell]",
)
@options.cluster_options
@options.work_dir_option
@options.run_options
@options.compute
def refine_tiles(
    solved: Path,
    pairs: Path,
    output: Path,
    wobble: bool,
    smoothness: float | None,
    compute: Compute,
    dry_run: bool,
    overwrite: bool,
) -> None:
    """Measure how tiles are bent against one another where they overlap, and write that into DIRECTORY.

    fuse-tiles --refinement samples tiles by it. Pairs whose tiles are straight, or do not fit better, are left as
    they are.
    """
    from teralign.tasks import refine_tiles as tasks

    task = tasks.plan_refine_tiles if dry_run else tasks.refine_tiles
    options.print_result(
        task(solved, pairs, output, compute=compute, wobble=wobble, smoothness=smoothness, overwrite=overwrite)
    )
