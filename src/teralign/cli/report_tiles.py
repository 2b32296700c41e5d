"""`report-tiles`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from teralign.cli import options, values

if TYPE_CHECKING:
    from teralign.trust import Gates


@click.command(epilog=options.example("report-tiles solved.json pairs.json report --flatfield flatfield.npz"))
@click.argument("solved", type=values.PATH, metavar="SOLVED.json")
@click.argument("pairs", type=values.PATH, metavar="PAIRS.json")
@click.argument("output", type=values.PATH, metavar="FOLDER")
@click.option("--flatfield", type=values.PATH, help="The light of the tiles, taken out of the pictures.")
@click.option("--refinement", type=values.PATH, help="Folder of refine-tiles, by which the pictures bend tiles.")
@click.option("--name", help="Name of the scan in the report.  [default: the folder's]")
@click.option(
    "--channel", type=click.IntRange(min=0), default=0, show_default=True, help="The channel that pictures show."
)
@options.gates()
@options.overwrite_option
@options.json_option
@options.verbose_option
def report_tiles(
    solved: Path,
    pairs: Path,
    output: Path,
    flatfield: Path | None,
    refinement: Path | None,
    name: str | None,
    channel: int,
    gates: Gates,
    overwrite: bool,
) -> None:
    """Judge how tiles were stitched, and show it in one page.

    SOLVED.json is what solve-tiles wrote from PAIRS.json. FOLDER gets index.html: the verdict with the estimated
    error of the positions, a map of the tiles, all of them in one picture, the best and the worst seam before and
    after. It is one file, which needs no network. report.json has the numbers, quilt.png and seams.png the pictures.
    """
    from teralign.tasks.report_tiles import report_tiles as task

    found = task(
        solved,
        pairs,
        output,
        flatfield=flatfield,
        refinement=refinement,
        name=name,
        channel=channel,
        fail_on=gates.fail_on,
        overwrite=overwrite,
    )
    options.conclude(found, "the stitching")
