"""`start-dask-worker`."""

from __future__ import annotations

from pathlib import Path

import click

from teralign.cli import options, values


@click.command(epilog=options.example("start-dask-worker --dir cluster --worker-cpus 4"))
@click.option("--dir", "directory", required=True, type=values.PATH, help="The --dir of start-dask-scheduler.")
@click.option("--worker-cpus", type=click.IntRange(min=1), help="Cores to compute with.  [default: all]")
@click.option(
    "--worker-mem-gb",
    type=values.NumberRange(min=0, min_open=True),
    help="Memory of the worker in GB; a block that exceeds it is tried elsewhere.  [default: free memory]",
)
@options.network_options
@click.option(
    "--wait",
    type=values.NumberRange(min=0),
    default=300,
    show_default=True,
    help="Seconds to wait for a scheduler to appear.",
)
@click.option(
    "--rejoin",
    type=values.NumberRange(min=0),
    default=60,
    show_default=True,
    help="Seconds to wait for a new scheduler when this one disappears with its work unfinished.",
)
@options.verbose_option
def start_dask_worker(
    directory: Path,
    worker_cpus: int | None,
    worker_mem_gb: float | None,
    interface: str | None,
    ports: tuple[int, int] | None,
    wait: float,
    rejoin: float,
) -> int:
    """Start a worker that joins the scheduler of --dir, and leaves with it.

    The exit code is 0 when the scheduler says that the work is over, and when no scheduler appears. It is 5 when the
    scheduler cannot be reached from this machine.
    """
    from teralign.cluster.join import run_worker
    from teralign.cluster.network import Network

    return run_worker(
        directory,
        worker_cpus=worker_cpus,
        worker_mem_gb=worker_mem_gb,
        network=Network(interface, ports),
        wait=wait,
        rejoin=rejoin,
    )
