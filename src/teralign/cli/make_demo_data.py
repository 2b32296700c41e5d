"""`make-demo-data`."""

from __future__ import annotations

from pathlib import Path

import click

from teralign.cli import options, values
from teralign.grids import Triple


@click.command(epilog=options.example("make-demo-data --output demo --shape 256,256,160 --seed 1"))
@click.option("--output", required=True, type=values.PATH, help="The folder to create.")
@click.option(
    "--shape",
    type=values.VOXELS,
    default="256,256,160",
    show_default=True,
    help="Voxels of the fixed round, x,y,z.",
)
@click.option(
    "--tiles",
    type=click.IntRange(1, 100),
    metavar="NUMBER",
    help="Also write each round as NUMBER x NUMBER overlapping tiles, with their true positions.",
)
@options.threads_option
@options.seed_option
@options.overwrite_option
@options.json_option
@options.verbose_option
def make_demo_data(
    output: Path, shape: Triple, tiles: int | None, threads: int | None, seed: int, overwrite: bool
) -> None:
    """Make two imaging rounds that look like tissue, with the true transform between them.

    The folder gets fixed.n5 and moving.n5 with scales s0 and s1, the true transform as an affine and a field,
    landmarks (x,y,z in µm) in both rounds, and demo.json, which records how the data were made. With --tiles,
    fixed_tiles and moving_tiles have the rounds as a COLM microscope stores them, unevenly lit and with the errors of
    a stage, and tiles_truth.json has where the tiles truly lie.
    """
    from teralign.tasks.make_demo_data import make_demo_data as task

    options.print_result(task(output, shape=shape, seed=seed, tiles=tiles, threads=threads, overwrite=overwrite))
