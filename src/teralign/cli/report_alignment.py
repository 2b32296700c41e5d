"""`report-alignment`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from teralign.cli import options, values
from teralign.errors import InputError

if TYPE_CHECKING:
    from teralign.alignment import Side
    from teralign.trust import Gates


@click.command(
    epilog=options.example(
        "report-alignment --fixed round1.zarr --moving round2.zarr",
        "--transform transform.zarr",
        "--blocks transform.blocks.json --output report",
    )
)
@options.fixed_option
@options.moving_option
@options.transform_option
@click.option(
    "--output", required=True, type=values.PATH, help="The folder for index.html, report.json, overlay.png."
)
@click.option("--name", help="Name of the pair in the report.  [default: the folder's]")
@click.option("--global-report", type=values.PATH, help="The .json of global-align, to include.")
@click.option("--blocks", type=values.PATH, help="The .blocks.json of local-align, to include.")
@click.option(
    "--fixed-landmarks", type=values.PATH, help="Table of landmarks in the fixed volume, to measure errors."
)
@click.option("--moving-landmarks", type=values.PATH, help="The same landmarks in the moving volume, in this order.")
@click.option("--trace", type=values.PATH, help="Nextflow's trace.txt: what the tasks of the pair --name took.")
@options.spacing_options
@options.expansion_options
@options.channel_options
@options.timepoint_options
@options.gates("min_correlation", "max_folded", "max_failed_blocks", "max_error_um", "max_tre_um")
@options.threads_option
@options.overwrite_option
@options.json_option
@options.verbose_option
@options.side("fixed")
@options.side("moving")
def report_alignment(
    fixed: Side,
    moving: Side,
    transforms: tuple[Path, ...],
    output: Path,
    name: str | None,
    global_report: Path | None,
    blocks: Path | None,
    fixed_landmarks: Path | None,
    moving_landmarks: Path | None,
    trace: Path | None,
    gates: Gates,
    threads: int | None,
    overwrite: bool,
) -> None:
    """Judge an alignment, and show it in one page.

    index.html begins with the verdict and the estimated error, and shows both volumes before and after: in two
    colours, as checkerboard, behind a wipe or blinking, slice by slice. It is one file, which needs no network.
    report.json has the same numbers, and overlay.png a picture of the middle planes.
    """
    if gates.max_tre_um is not None and fixed_landmarks is None:
        raise InputError("--max-tre-um needs landmarks: give --fixed-landmarks and --moving-landmarks.")
    from teralign.tasks.report_alignment import ReportInputs
    from teralign.tasks.report_alignment import report_alignment as task

    options.conclude(
        task(
            fixed,
            moving,
            transforms=transforms,
            output=output,
            name=name,
            inputs=ReportInputs(global_report, blocks, fixed_landmarks, moving_landmarks, trace),
            gates=gates,
            threads=threads,
            overwrite=overwrite,
        )
    )
