"""`start-dask-worker`."""

from __future__ import annotations

from pathlib import Path

import click

from teralign.cli import options, values


@click.command(epilog=options.example("start-dask-worker --dir cluster --worker-cpus 4"))
@click.option("--dir", "directory", required=True, type=values.PATH, help="The --dir of start-dask-scheduler.")
@click.option("--worker-cpus", type=click.IntRange(min=1), help="Cores to compute with.  [default: all there are]")
@click.option(
    "--worker-mem-gb",
    type=click.FloatRange(min=0, min_open=True),
    help="Memory that its work may take; a block that takes more is tried elsewhere.  [default: what is free]",
)
@click.option("--interface", metavar="NAME", help="Network interface to listen at, such as ib0.")
@click.option(
    "--wait",
    type=click.FloatRange(min=0),
    default=300,
    show_default=True,
    help="Seconds that a scheduler may take to appear.",
)
@click.option(
    "--rejoin",
    type=click.FloatRange(min=0),
    default=60,
    show_default=True,
    help="Seconds to wait for a new scheduler when this one goes with its work unfinished.",
)
@options.verbose_option
def start_dask_worker(
    directory: Path,
    worker_cpus: int | None,
    worker_mem_gb: float | None,
    interface: str | None,
    wait: float,
    rejoin: float,
) -> int:
    """Start a worker that joins the scheduler of --dir, and leaves with it.

    It ends with exit code 0 when the scheduler says that the work is over, and when there is none to work for.
    """
    from teralign.cluster.join import run_worker

    return run_worker(
        directory,
        worker_cpus=worker_cpus,
        worker_mem_gb=worker_mem_gb,
        interface=interface,
        wait=wait,
        rejoin=rejoin,
    )
