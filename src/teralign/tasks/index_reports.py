"""`index-reports`: the page and the table of all pairs of a folder of results."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from teralign.errors import InputError
from teralign.files import write_atomically
from teralign.provenance import Run, own_name
from teralign.report import (
    complete_report,
    index_of,
    multiqc_content,
    read_entry,
    read_trace,
    read_triangles,
    read_workflow,
    run_page,
    small_pictures,
)
from teralign.results import to_json, write_json
from teralign.tasks.inputs import refuse_existing

_PAGE, _TABLE, _MULTIQC = "index.html", "index.json", "teralign_mqc.json"


@dataclass(frozen=True)
class RunInputs:
    """The facts of a workflow run besides its reports; None is not given.

    `trace` is the table that Nextflow writes with -with-trace, `workflow` the record of the command and parameters.
    `without_report` names pairs of the run that have no report.
    """

    trace: str | Path | None = None
    workflow: str | Path | None = None
    without_report: Sequence[str] = ()


@dataclass(frozen=True)
class ReportIndex:
    """The files that were written, and the number of pairs with each verdict."""

    report: Path
    json: Path
    multiqc: Path
    pairs: int
    verdicts: Mapping[str, int]


def index_reports(
    results: str | Path,
    *,
    output: str | Path | None = None,
    title: str | None = None,
    inputs: RunInputs = RunInputs(),
    complete: bool = False,
    overwrite: bool = False,
) -> ReportIndex:
    """Write `index.html`, `index.json` and `teralign_mqc.json` for the reports `PAIR/report` in the folder `results`.

    They go to the folder `output`, by default `results`; links are relative to `output` if that is where the results
    are. Errors around triangles of rounds come from `rounds*.json` in `results`. MultiQC finds `teralign_mqc.json` by
    its name. With `complete` the tasks of each pair and the command of the run go into its report, too.

    Raises InputError when there is no report, or one of the files exists and `overwrite` is off.
    """
    root = Path(results)
    folder = root if output is None else Path(output)
    for name in (_PAGE, _TABLE, _MULTIQC):
        refuse_existing(folder / name, overwrite=overwrite, what="folder")
    tasks = [] if inputs.trace is None else read_trace(Path(inputs.trace))
    workflow = None if inputs.workflow is None else read_workflow(Path(inputs.workflow))
    folders = {_link(path.parent, root, folder): path.parent for path in sorted(root.glob("*/report/report.json"))}
    if not folders:
        raise InputError(f"{root} has no reports PAIR/report/report.json; report-alignment writes them.")
    entries = [read_entry(place, link, tasks) for link, place in folders.items()]
    named = {"results": own_name(root), "trace": None if inputs.trace is None else own_name(inputs.trace)}
    index = index_of(
        entries,
        tasks,
        Run(inputs=named, parameters={}),
        triangles=[one for path in sorted(root.glob("rounds*.json")) for one in read_triangles(path)],
        without_report=inputs.without_report,
        workflow=workflow,
    )
    page = run_page(index, small_pictures(index, folders), title or root.absolute().name)
    for place in folders.values() if complete else ():
        complete_report(place, tasks, workflow)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / _TABLE, index)
    write_atomically(folder / _MULTIQC, (to_json(multiqc_content(index), indent=1) + "\n").encode())
    write_atomically(folder / _PAGE, page.encode())
    return ReportIndex(folder / _PAGE, folder / _TABLE, folder / _MULTIQC, len(entries), index.verdicts)


def _link(report: Path, root: Path, folder: Path) -> str:
    """Return the address of a pair's page, as the index in `folder` names it."""
    return Path(os.path.relpath(report.absolute(), folder.absolute())).joinpath(_PAGE).as_posix()
