"""`export-tiles`."""

from __future__ import annotations

from pathlib import Path

import click

from teralign.cli import options, values


@click.command(epilog=options.example("export-tiles solved.json positions.csv"))
@click.argument("tiles", type=values.PATH, metavar="TILES.json")
@click.argument("output", type=values.PATH, metavar="OUTPUT")
@click.option(
    "--format",
    "form",
    type=click.Choice(["csv", "terastitcher", "bigstitcher"]),
    help="Format of OUTPUT.  [default: by its ending]",
)
@options.overwrite_option
@options.json_option
@options.verbose_option
def export_tiles(tiles: Path, output: Path, form: str | None, overwrite: bool) -> None:
    """Write the positions of tiles for another program; import-tiles reads the file again.

    OUTPUT is a table of positions in µm (.csv), or an XML project of TeraStitcher or BigStitcher (.xml, --format).
    """
    from teralign.tasks.import_tiles import export_tiles as task

    options.print_result(task(tiles, output, form=form, overwrite=overwrite))
