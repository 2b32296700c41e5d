"""`solve-tiles`."""

from __future__ import annotations

from pathlib import Path

import click

from teralign.cli import options, values


@click.command(epilog=options.example("solve-tiles tiles.json pairs.json solved.json"))
@click.argument("tiles", type=values.PATH, metavar="TILES.json")
@click.argument("pairs", type=values.PATH, metavar="PAIRS.json")
@click.argument("output", type=values.PATH, metavar="SOLVED.json")
@click.option(
    "--tile-model",
    type=click.Choice(["translation", "rigid", "affine"]),
    default="translation",
    show_default=True,
    help="What a tile may do: move, also turn, or also stretch and shear. The last two need align-tiles --pieces.",
)
@options.overwrite_option
@options.json_option
@options.verbose_option
def solve_tiles(tiles: Path, pairs: Path, output: Path, tile_model: str, overwrite: bool) -> None:
    """Write the tiles of TILES.json at the positions that agree best with the shifts of PAIRS.json.

    Wrong shifts are removed and named. Tiles without evidence are flagged, and placed by the stage and by what its
    errors at the other tiles have in common.
    """
    from teralign.tasks.solve_tiles import solve_tiles as task

    options.print_result(task(tiles, pairs, output, tile_model=tile_model, overwrite=overwrite))
