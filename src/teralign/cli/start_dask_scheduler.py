"""`start-dask-scheduler`."""

from __future__ import annotations

from pathlib import Path

import click

from teralign.cli import options, values


@click.command(
    context_settings={"ignore_unknown_options": False, "allow_interspersed_args": False},
    epilog=options.example(
        "start-dask-scheduler --dir cluster --",
        "local-align --fixed round1.zarr --moving round2.zarr --output transform.zarr",
    ),
)
@click.option(
    "--dir", "directory", required=True, type=values.PATH, help="Where workers and clients find the scheduler."
)
@click.option(
    "--workers",
    type=click.IntRange(min=0),
    help="Workers to start with it, on this machine.  [default: 1 with a COMMAND, else 0]",
)
@click.option(
    "--worker-cpus", type=click.IntRange(min=1), help="Cores of each of them.  [default: all there are, shared]"
)
@click.option(
    "--worker-mem-gb",
    type=click.FloatRange(min=0, min_open=True),
    help="Memory of each of them; one that takes more is replaced.  [default: what is free, shared]",
)
@click.option("--interface", metavar="NAME", help="Network interface to listen at, such as ib0.")
@click.option(
    "--last-attempt",
    is_flag=True,
    help="Tell helping workers to leave even when COMMAND fails; else they wait for another attempt.",
)
@options.verbose_option
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def start_dask_scheduler(
    directory: Path,
    command: tuple[str, ...],
    workers: int | None,
    worker_cpus: int | None,
    worker_mem_gb: float | None,
    interface: str | None,
    last_attempt: bool,
) -> int:
    """Start a Dask scheduler that others find in --dir.

    With a COMMAND (after --), run the command under a scheduler of its own: it finds the scheduler in
    $TERALIGN_SCHEDULER, and both end together, with the command's exit code. Workers started elsewhere by
    start-dask-worker with the same --dir help as long as it runs.

    Without, the scheduler runs until stop-dask-cluster or a signal ends it.
    """
    from teralign.cluster.driver import run_scheduler

    return run_scheduler(
        directory,
        command,
        workers=workers,
        worker_cpus=worker_cpus,
        worker_mem_gb=worker_mem_gb,
        interface=interface,
        last_attempt=last_attempt,
    )
