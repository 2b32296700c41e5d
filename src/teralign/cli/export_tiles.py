"""`export-tiles`."""

from __future__ import annotations

from pathlib import Path

import click

from teralign.cli import options, values


@click.command(epilog=options.example("export-tiles solved.json positions.csv"))
@click.argument("tiles", type=values.PATH, metavar="TILES.json")
@click.argument("output", type=values.PATH, metavar="OUTPUT")
@options.overwrite_option
@options.json_option
@options.verbose_option
def export_tiles(tiles: Path, output: Path, overwrite: bool) -> None:
    """Write the positions of tiles for another program; import-tiles reads the file again.

    OUTPUT is a table of positions in µm (.csv).
    """
    from teralign.tasks.import_tiles import export_tiles as task

    options.print_result(task(tiles, output, overwrite=overwrite))
