"""`teralign index-container`."""

from __future__ import annotations

from pathlib import Path

import click

from teralign.cli import options, values


@click.command(epilog=options.example("teralign index-container registration.zarr"))
@click.argument("container", type=values.PATH, metavar="CONTAINER")
@options.ome_zarr_option
@options.json_option
@options.verbose_option
def index_container(container: Path, ome_zarr: str | None) -> None:
    """List the images of a container, each in a group of its own, in the metadata of its root.

    An OME-Zarr container gets the layout of bioformats2raw, with which viewers open all images.
    """
    from teralign.tasks.index_container import index_container as task

    options.print_result(task(container, ome_zarr=ome_zarr))
