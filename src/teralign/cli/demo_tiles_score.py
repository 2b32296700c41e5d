"""`demo-tiles-score`."""

from __future__ import annotations

from pathlib import Path

import click

from teralign.cli import options, values


@click.command(epilog=options.example("demo-tiles-score demo fixed/solved.json moving/solved.json"))
@click.argument("demo_dir", type=values.PATH)
@click.argument("fixed", type=values.PATH, metavar="FIXED.json")
@click.argument("moving", type=values.PATH, metavar="MOVING.json")
@click.option("--aligned", type=values.PATH, help="The transform between the stitched rounds, to score too.")
@click.option("--whole", type=values.PATH, help="The transform between the rounds as whole volumes, beside it.")
@options.json_option
@options.verbose_option
def demo_tiles_score(demo_dir: Path, fixed: Path, moving: Path, aligned: Path | None, whole: Path | None) -> None:
    """Score the solved tiles of both rounds of the demo against the truth in DEMO_DIR.

    Prints the errors of the positions in voxels, of the stage and solved, and the errors at the landmarks in µm.
    """
    from teralign.tasks.demo_tiles_score import demo_tiles_score as task

    options.print_result(task(demo_dir, fixed, moving, aligned=aligned, whole=whole))
