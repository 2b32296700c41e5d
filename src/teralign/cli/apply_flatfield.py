"""`apply-flatfield`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from teralign.cli import options, values

if TYPE_CHECKING:
    from teralign.cluster import Compute


@click.command(epilog=options.example("apply-flatfield tiles.json flatfield.npz corrected"))
@click.argument("tiles", type=values.PATH, metavar="TILES.json")
@click.argument("flatfield", type=values.PATH, metavar="FLATFIELD.npz")
@click.argument("output", type=values.PATH, metavar="FOLDER")
@click.option("--skip-unreadable", is_flag=True, help="Go on without tiles that cannot be read.")
@options.cluster_options
@options.work_dir_option
@options.run_options
@options.compute
def apply_flatfield(
    tiles: Path,
    flatfield: Path,
    output: Path,
    skip_unreadable: bool,
    compute: Compute,
    dry_run: bool,
    overwrite: bool,
) -> None:
    """Write the tiles in even light to FOLDER, with a tiles.json for them; the raw tiles stay as they are.

    Values are rounded and saturate. Tiles that have been corrected are refused. To stitch, this is not needed:
    fuse-tiles corrects on the fly.
    """
    from teralign.tasks import flatfields

    task = flatfields.plan_apply_flatfield if dry_run else flatfields.apply_flatfield
    options.print_result(
        task(tiles, flatfield, output, skip_unreadable=skip_unreadable, compute=compute, overwrite=overwrite)
    )
