"""`estimate-flatfield`."""

from __future__ import annotations

from pathlib import Path

import click

from teralign.cli import options, values


@click.command(epilog=options.example("estimate-flatfield tiles.json flatfield.npz"))
@click.argument("tiles", type=values.PATH, metavar="TILES.json")
@click.argument("output", type=values.PATH, metavar="OUTPUT.npz")
@click.option("--dark", type=click.FloatRange(min=0), help="Dark level in counts.  [default: found]")
@click.option("--dark-image", type=values.PATH, help="Image taken with the shutter closed: the dark level by pixel.")
@click.option(
    "--planes",
    type=click.IntRange(min=8),
    default=500,
    show_default=True,
    help="Planes of each channel to read, spread over tiles and depth.",
)
@click.option(
    "--sections",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Parts of the depth with a gain of their own.",
)
@click.option("--skip-unreadable", is_flag=True, help="Go on without tiles that cannot be read.")
@options.overwrite_option
@options.json_option
@options.verbose_option
def estimate_flatfield(
    tiles: Path,
    output: Path,
    dark: float | None,
    dark_image: Path | None,
    planes: int,
    sections: int,
    skip_unreadable: bool,
    overwrite: bool,
) -> None:
    """Find the uneven light (gain) and the dark level of each channel of TILES.json.

    OUTPUT.npz has the gain, of mean 1, and the dark level for each pixel: corrected = (raw - dark) / gain. The
    dark level is found from the noise of photons; measure it where planes were smoothed or compressed.
    """
    from teralign.errors import InputError
    from teralign.tasks import flatfields

    if dark is not None and dark_image is not None:
        raise InputError("--dark and --dark-image both give the dark level; leave one of them out.")
    options.print_result(
        flatfields.estimate_flatfield(
            tiles,
            output,
            dark=dark,
            dark_image=dark_image,
            planes=planes,
            sections=sections,
            skip_unreadable=skip_unreadable,
            overwrite=overwrite,
        )
    )
