"""`index-reports`."""

from __future__ import annotations

from pathlib import Path

import click

from teralign.cli import options, values


@click.command(epilog=options.example("index-reports results/"))
@click.argument("results", type=values.PATH)
@click.option("--output", type=values.PATH, help="The folder to write to.  [default: RESULTS]")
@click.option("--title", help="Title of the page.  [default: the name of RESULTS]")
@click.option("--trace", type=values.PATH, help="Nextflow's trace.txt: what the tasks took.")
@click.option("--workflow", type=values.PATH, help="JSON with the command and the parameters of the workflow run.")
@click.option("--without-report", multiple=True, metavar="PAIR", help="A pair that failed; may be repeated.")
@click.option("--complete", is_flag=True, help="Write tasks and command of the run into the reports of pairs, too.")
@options.overwrite_option
@options.json_option
@options.verbose_option
def index_reports(
    results: Path,
    output: Path | None,
    title: str | None,
    trace: Path | None,
    workflow: Path | None,
    without_report: tuple[str, ...],
    complete: bool,
    overwrite: bool,
) -> None:
    """List the reports of all pairs in the folder RESULTS on one page.

    index.html names each pair PAIR/report of RESULTS, the worst first: verdict, estimated error, similarity, pictures
    and time. index.json has the same as data, and teralign_mqc.json as a table that MultiQC shows.
    """
    from teralign.tasks.index_reports import RunInputs
    from teralign.tasks.index_reports import index_reports as task

    inputs = RunInputs(trace, workflow, without_report)
    options.print_result(
        task(results, output=output, title=title, inputs=inputs, complete=complete, overwrite=overwrite)
    )
