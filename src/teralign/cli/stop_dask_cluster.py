"""`stop-dask-cluster`."""

from __future__ import annotations

from pathlib import Path

import click

from teralign.cli import options, values


@click.command(epilog=options.example("stop-dask-cluster --dir cluster"))
@click.option("--dir", "directory", required=True, type=values.PATH, help="The --dir of start-dask-scheduler.")
@click.option(
    "--wait",
    type=values.NumberRange(min=0),
    default=30,
    show_default=True,
    help="Seconds to wait for scheduler, workers and command to end.",
)
@options.verbose_option
def stop_dask_cluster(directory: Path, wait: float) -> None:
    """Stop the scheduler of --dir with its workers and its command, if any."""
    from teralign.cluster.stop import stop_cluster

    stop_cluster(directory, wait=wait)
