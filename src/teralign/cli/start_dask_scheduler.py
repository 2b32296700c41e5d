"""`start-dask-scheduler`."""

from __future__ import annotations

from pathlib import Path

import click

from teralign.cli import options, values
from teralign.errors import InputError


@click.command(
    context_settings={"ignore_unknown_options": False, "allow_interspersed_args": False},
    epilog=options.example(
        "start-dask-scheduler --dir cluster --",
        "local-align --fixed round1.zarr --moving round2.zarr --output transform.zarr",
    ),
)
@click.option(
    "--dir",
    "directory",
    required=True,
    type=values.PATH,
    help="Folder where workers and clients find the scheduler.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=0),
    help="Workers to start on this machine.  [default: 1 with a COMMAND, else 0]",
)
@click.option(
    "--worker-cpus", type=click.IntRange(min=1), help="Cores of each worker.  [default: an equal share of all cores]"
)
@click.option(
    "--worker-mem-gb",
    type=values.NumberRange(min=0, min_open=True),
    help="Memory of each worker in GB; a worker that exceeds it is replaced.  [default: a share of free memory]",
)
@options.worker_wait_option
@options.network_options
@click.option("--local", is_flag=True, help="Listen on this machine only: no worker joins from elsewhere.")
@click.option(
    "--last-attempt",
    is_flag=True,
    help="Tell helping workers to leave even if COMMAND fails; otherwise they wait for another attempt.",
)
@options.verbose_option
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def start_dask_scheduler(
    directory: Path,
    command: tuple[str, ...],
    workers: int | None,
    worker_cpus: int | None,
    worker_mem_gb: float | None,
    worker_wait: float | None,
    interface: str | None,
    ports: tuple[int, int] | None,
    local: bool,
    last_attempt: bool,
) -> int:
    """Start a Dask scheduler that workers and clients find in --dir.

    With a COMMAND (after --), the command runs under a scheduler of its own, which it finds in $TERALIGN_SCHEDULER.
    Both end together, with the command's exit code. Workers that start-dask-worker starts elsewhere with the same
    --dir join, and help as long as the command runs.

    Without a COMMAND, the scheduler runs until stop-dask-cluster or a signal ends it.

    All connections are encrypted, and other users are refused: only this user can read the key, which is in --dir.
    """
    from teralign.cluster.driver import run_scheduler
    from teralign.cluster.network import Network

    if local and interface:
        raise InputError("--local and --interface exclude each other: leave one of them out.")
    return run_scheduler(
        directory,
        command,
        workers=workers,
        worker_cpus=worker_cpus,
        worker_mem_gb=worker_mem_gb,
        worker_wait=worker_wait,
        network=Network(interface, ports, local),
        last_attempt=last_attempt,
    )
