"""`demo-score`."""

from __future__ import annotations

from pathlib import Path

import click

from teralign.cli import options


@click.command()
@click.argument("demo_dir", type=options.PATH)
@click.argument("result_dir", type=options.PATH)
@options.verbose_option
def demo_score(demo_dir: Path, result_dir: Path) -> None:
    """Score the affine.mat and transform.zarr in RESULT_DIR against the truth in DEMO_DIR.

    Prints the error over the landmarks in µm, median and 95th percentile: before, after the global step, and after
    everything.
    """
    from teralign.tasks.demo_score import demo_score as task

    options.print_result(task(demo_dir, result_dir))
