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
@options.threads_option
@options.seed_option
@options.overwrite_option
@options.json_option
@options.verbose_option
def make_demo_data(output: Path, shape: Triple, threads: int | None, seed: int, overwrite: bool) -> None:
    """Make two imaging rounds that look like tissue, with the true transform between them.

    The folder gets fixed.n5 and moving.n5 with scales s0 and s1, the true transform as an affine and a field,
    landmarks (x,y,z in µm) in both rounds, and demo.json, which records how the data were made.
    """
    from teralign.tasks.make_demo_data import make_demo_data as task

    options.print_result(task(output, shape=shape, seed=seed, threads=threads, overwrite=overwrite))
