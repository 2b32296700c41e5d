"""`compare-rounds`."""

from __future__ import annotations

from pathlib import Path

import click

from teralign.cli import options, values


@click.command(epilog=options.example("compare-rounds rounds.csv --close-triangles --output rounds.json"))
@click.argument("table", type=values.PATH)
@click.option("--close-triangles", is_flag=True, help="Compare moving rounds with each other too, at a coarse scale.")
@click.option("--output", type=values.PATH, help="Write the result to this JSON file too.")
@click.option("--maps", type=values.PATH, help="New folder for the errors of each triangle as OME-Zarr, in µm.")
@options.threads_option
@options.overwrite_option
@options.json_option
@options.verbose_option
def compare_rounds(
    table: Path,
    close_triangles: bool,
    output: Path | None,
    maps: Path | None,
    threads: int | None,
    overwrite: bool,
) -> None:
    """Measure how consistent three or more aligned rounds are with one another, in µm.

    TABLE is a CSV file with the columns id, fixed, moving, transform, a row for each aligned pair. Where three pairs
    form a triangle, a point that goes around it must come back; that needs no image. Rounds that were all aligned to
    one form none: --close-triangles then registers each two of them to each other as the fixed one sees them, from
    where they lie; how far that moves them is their error.
    """
    from teralign.cli.tables import show_triangles
    from teralign.tasks.compare_rounds import compare_rounds as task

    result = task(
        table,
        output=output,
        maps=maps,
        close_triangles=close_triangles,
        threads=threads,
        overwrite=overwrite,
    )
    show_triangles(result, err=options.wants_json())
    if options.wants_json():
        options.print_result(result)
