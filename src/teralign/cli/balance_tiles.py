"""`balance-tiles`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from teralign.cli import options, values

if TYPE_CHECKING:
    from teralign.cluster import Compute


@click.command(epilog=options.example("balance-tiles solved.json balanced.json --flatfield flatfield.npz"))
@click.argument("tiles", type=values.PATH, metavar="SOLVED.json")
@click.argument("output", type=values.PATH, metavar="BALANCED.json")
@click.option("--flatfield", type=values.PATH, help="Compare in the even light of this flat field.")
@click.option(
    "--dark", type=click.FloatRange(min=0), help="Dark level in counts, without a flat field.  [default: 0]"
)
@click.option("--offset", is_flag=True, help="Find an offset of each tile as well as its gain.")
@click.option("--skip-unreadable", is_flag=True, help="Go on without tiles that cannot be read.")
@options.cluster_options
@options.work_dir_option
@options.run_options
@options.compute
def balance_tiles(
    tiles: Path,
    output: Path,
    flatfield: Path | None,
    dark: float | None,
    offset: bool,
    skip_unreadable: bool,
    compute: Compute,
    dry_run: bool,
    overwrite: bool,
) -> None:
    """Find the gain of each tile that makes overlaps equally bright, and write it to BALANCED.json.

    Bleaching is learnt from the order of acquisition where tiles have it. Tiles without overlap keep their
    brightness. Turned and stretched tiles are compared where their matrices put them. fuse-tiles uses the gains.
    """
    from teralign.errors import InputError
    from teralign.tasks import balance_tiles as tasks

    if flatfield is not None and dark is not None:
        raise InputError("--flatfield has a dark level already; leave --dark out.")
    task = tasks.plan_balance if dry_run else tasks.balance
    options.print_result(
        task(
            tiles,
            output,
            compute=compute,
            flatfield=flatfield,
            dark=dark or 0.0,
            with_offset=offset,
            skip_unreadable=skip_unreadable,
            overwrite=overwrite,
        )
    )
