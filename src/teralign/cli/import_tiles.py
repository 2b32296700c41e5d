"""`import-tiles`."""

from __future__ import annotations

from pathlib import Path

import click

from teralign.cli import options, values
from teralign.grids import FloatTriple


@click.command(epilog=options.example("import-tiles scan/stage.csv tiles.json --spacing 0.5,0.5,2"))
@click.argument("source", type=values.PATH, metavar="SOURCE")
@click.argument("output", type=values.PATH, metavar="TILES.json")
@click.option("--spacing", type=values.MICROMETRES, help="Voxel size in µm; overrides what the files say.")
@click.option("--stack", type=values.PATH, help="Tiles are slices of this volume, in the order of their numbers.")
@click.option(
    "--mirror",
    type=values.MIRRORED,
    default="",
    help="Mirror the positions, not the images, along these axes, such as x or x,y.",
)
@click.option("--swap-xy", is_flag=True, help="Exchange x and y of the positions, before they are mirrored.")
@click.option("--skip-unreadable", is_flag=True, help="Mark tiles that cannot be read, and go on without them.")
@options.overwrite_option
@options.json_option
@options.verbose_option
def import_tiles(
    source: Path,
    output: Path,
    spacing: FloatTriple | None,
    stack: Path | None,
    mirror: str,
    swap_xy: bool,
    skip_unreadable: bool,
    overwrite: bool,
) -> None:
    """Write the positions and files of a microscope's tiles to TILES.json, which all commands on tiles read.

    SOURCE is a table of positions (CSV with the columns file, z, y, x in µm), alone or in its folder, the folder of a
    COLM experiment, an XML project of TeraStitcher or BigStitcher, Fiji's TileConfiguration.txt, or a folder of
    OME-Zarr images that have translations.
    """
    from teralign.tasks.import_tiles import import_tiles as task

    options.print_result(
        task(
            source,
            output,
            spacing=spacing,
            stack=stack,
            mirror=mirror,
            swap_xy=swap_xy,
            skip_unreadable=skip_unreadable,
            overwrite=overwrite,
        )
    )
