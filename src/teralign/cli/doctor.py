"""`teralign doctor`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from teralign.cli import options, values

if TYPE_CHECKING:
    from teralign.doctor import Observation
    from teralign.tasks.doctor import Diagnosis

_WIDTH = 17
_COLOURS = {"ok": "green", "note": "yellow", "absent": "cyan", "missing": "red"}


@click.command(epilog=options.example("teralign doctor"))
@click.option(
    "--folder", type=values.PATH, default=".", help="Where results would go.  [default: the current folder]"
)
@options.json_option
@options.verbose_option
def doctor(folder: Path) -> int:
    """Say what works on this machine, and what to install or change.

    Looks at Python, libraries, cores, memory, disks, temporary and shared folders, Java, Nextflow, container engines,
    schedulers of jobs and GPUs. The exit code is 1 if something that every command needs is missing. Nothing is
    changed.
    """
    from teralign.tasks.doctor import Health
    from teralign.tasks.doctor import doctor as task

    found = task(folder)
    if options.wants_json():
        options.print_result(found)
    else:
        click.echo("\n".join(_lines(found)))
    return 1 if found.state is Health.MISSING else 0


def _lines(found: Diagnosis) -> Iterator[str]:
    for check in found.checks:
        yield from _check_lines(check)
    yield ""
    yield _conclusion(found)


def _check_lines(check: Observation) -> Iterator[str]:
    level = click.style(f"{check.standing:<8}", fg=_COLOURS[check.standing])
    yield f"{level}{check.name:<{_WIDTH}}{check.found}"
    indent = " " * (8 + _WIDTH)
    if check.purpose and check.standing != "ok":
        yield f"{indent}({check.purpose})"
    if check.advice:
        yield f"{indent}→ {check.advice}"


def _conclusion(found: Diagnosis) -> str:
    missing = [check.name for check in found.checks if check.standing == "missing"]
    if missing:
        return f"Missing, and needed by every command: {', '.join(missing)}."
    absent = {check.name for check in found.checks if check.standing == "absent"}
    if "Nextflow" in absent or "Java" in absent:
        return "The commands work here. The pipeline needs Nextflow: bin/nextflow of a checkout fetches it."
    return "The commands and the pipeline work here."
