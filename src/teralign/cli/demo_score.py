"""`demo-score`."""

from __future__ import annotations

from pathlib import Path

import click

from teralign.cli import options, values


@click.command(epilog=options.example("demo-score demo/ results/round1_to_round2/"))
@click.argument("demo_dir", type=values.PATH)
@click.argument("result_dir", type=values.PATH)
@options.json_option
@options.verbose_option
def demo_score(demo_dir: Path, result_dir: Path) -> None:
    """Score the affine.mat and transform.zarr in RESULT_DIR against the truth in DEMO_DIR.

    Prints the median and 95th percentile of the error at the landmarks in µm: before alignment, after the global
    step, and after all steps.
    """
    from teralign.tasks.demo_score import demo_score as task

    options.print_result(task(demo_dir, result_dir))
