"""The end of a workflow run: its tasks and its command, added to the reports that its tasks wrote before.

A report is written while the run goes on: the tasks after it, such as the one that warps the volume, have not ended.
The page keeps two places, between comments, for the tasks of its pair and the command of the run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from teralign.errors import DataError, InputError
from teralign.files import write_atomically
from teralign.report.page import render_part
from teralign.report.trace import TaskCost
from teralign.results import write_json

_PAGE, _FACTS = "index.html", "report.json"


@dataclass(frozen=True)
class WorkflowRun:
    """The command line that started a workflow run, and the run's parameters by their names, as they acted."""

    command: str
    parameters: Mapping[str, Any]


def read_workflow(path: Path) -> WorkflowRun:
    """Return the record of a run that the workflow writes for `index-reports`. Raises InputError for another file."""
    try:
        content = json.loads(path.read_text("utf-8"))
        return WorkflowRun(_with_empty_values(str(content["command"])), dict(content["parameters"]))
    except OSError as error:
        raise InputError(f"--workflow {path} cannot be read: {error.strerror or error}.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"--workflow {path} is not the record of a workflow run.") from error


def _with_empty_values(command: str) -> str:
    """Return a command line in which empty values are quoted; Nextflow joins the words by blanks, without quotes."""
    return " ".join(word or "''" for word in command.split(" "))


def complete_report(folder: Path, tasks: Sequence[TaskCost], workflow: WorkflowRun | None) -> None:
    """Write the tasks of its pair and the run's command into the report in `folder`.

    Links to files elsewhere become files. Raises DataError when the report cannot be read or written.
    """
    facts = folder / _FACTS
    try:
        content = json.loads(facts.read_text("utf-8"))
        page = (folder / _PAGE).read_text("utf-8")
        own = [task for task in tasks if task.pair == content["name"]]
        content |= {"tasks": own, "workflow": workflow}
    except OSError as error:
        raise DataError(f"{facts} cannot be read: {error.strerror or error}.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{facts} is not the report.json of report-alignment; write that report again.") from error
    for part in ("run_link", "run"):
        page = _put(page, part, render_part("macros.html", part, own, workflow))
    write_json(facts, {name: value for name, value in content.items() if name not in ("format", "teralign")})
    write_atomically(folder / _PAGE, page.encode())


def _put(page: str, part: str, text: str) -> str:
    """Return the page with the text between the first two comments that name a part."""
    pattern = re.compile(rf"(<!-- {part} -->).*?(<!-- end of {part} -->)", re.DOTALL)
    return pattern.sub(lambda found: f"{found[1]}{text}{found[2]}", page, count=1)
