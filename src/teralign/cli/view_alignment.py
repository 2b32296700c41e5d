"""`view-alignment`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from teralign.cli import options, values

if TYPE_CHECKING:
    from teralign.alignment import Side


@click.command(
    epilog=options.example(
        "view-alignment --fixed round1.zarr --moving round2.zarr",
        "--transform transform.zarr --points spots.csv",
    )
)
@options.fixed_option
@options.moving_option
@options.transform_option
@click.option("--labels", multiple=True, metavar="URI", help="Labels of the fixed volume; repeat for several.")
@click.option(
    "--moving-labels", multiple=True, metavar="URI", help="Labels of the moving volume, to be warped; repeatable."
)
@click.option(
    "--points", multiple=True, type=values.PATH, help="A table of points of the fixed volume, in µm; repeatable."
)
@click.option(
    "--moving-points", multiple=True, type=values.PATH, help="Points of the moving volume, to be mapped; repeatable."
)
@click.option("--error", metavar="URI", help="The error volume.  [default: NAME.error.zarr beside NAME.zarr]")
@click.option(
    "--interpolation",
    type=click.Choice(["linear", "nearest", "cubic"]),
    default="linear",
    show_default=True,
    help="Use nearest where the moving volume is labels.",
)
@options.spacing_options
@options.expansion_options
@options.channel_options
@options.timepoint_options
@click.option("--napari", is_flag=True, help="Open in napari instead of a browser.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    help="Port of this machine to serve on.  [default: a free one]",
)
@click.option("--viewer", metavar="URL", help="Another Neuroglancer than the installed one.")
@click.option("--no-browser", is_flag=True, help="Print the link only.")
@click.option(
    "--export",
    type=values.PATH,
    metavar="SCENE.zarr",
    help="Write both images, the aligned one and the map as one scene of OME-Zarr 0.6 instead.",
)
@options.overwrite_option
@options.json_option
@options.verbose_option
@options.side("fixed")
@options.side("moving")
def view_alignment(
    fixed: Side,
    moving: Side,
    transforms: tuple[Path, ...],
    labels: tuple[str, ...],
    moving_labels: tuple[str, ...],
    points: tuple[Path, ...],
    moving_points: tuple[Path, ...],
    error: str | None,
    interpolation: str,
    napari: bool,
    port: int,
    viewer: str | None,
    no_browser: bool,
    export: Path | None,
    overwrite: bool,
) -> None:
    """Look at an alignment in Neuroglancer or napari, without writing it: the moving volume is warped where you look.

    Prints a link and serves the volumes, to this machine only, until Ctrl-C.
    """
    from teralign.tasks import view_alignment as tasks

    if export is not None:
        exported = tasks.export_scene(
            fixed,
            moving,
            transforms=transforms,
            interpolation=interpolation,
            output=export,
            overwrite=overwrite,
        )
        options.print_result(exported)
        return
    beside = tasks.SeenBeside(labels, moving_labels, points, moving_points, error)
    view = tasks.open_view(fixed, moving, transforms=transforms, interpolation=interpolation, beside=beside)
    if napari:
        tasks.show_in_napari(view)
        return
    with tasks.serve_view(view, port=port, viewer=viewer) as viewed:
        options.print_result(viewed)
        tasks.stay(viewed, browser=not no_browser)
