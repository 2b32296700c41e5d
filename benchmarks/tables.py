"""Rows of results as markdown and JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from benchmarks.costs import Outcome

Value: TypeAlias = str | float | int | None
Row: TypeAlias = dict[str, Value]
ERRORS = {"mean µm": "mean:.3f", "median": "median:.3f", "p95": "p95:.3f", "p99": "p99:.3f"}
COST = {"CPU s": "cpu_s:.1f", "wall s": "wall_s:.1f", "GiB": "peak_gib:.2f"}


def cost_values(outcome: Outcome) -> Row:
    """The columns of what a command cost, and why it has no result (`fault`)."""
    cost = outcome.cost
    return {"cpu_s": cost.cpu_s, "wall_s": cost.wall_s, "peak_gib": cost.peak_gib, "fault": outcome.fault}


def markdown(rows: Sequence[Row], columns: Mapping[str, str]) -> str:
    """A table of `columns`: heading to "key:format". A row with a fault says so in the first column that is empty."""
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    for row in rows:
        cells = [_cell(row, *what.partition(":")[::2]) for what in columns.values()]
        if row.get("fault") and "" in cells:
            cells[cells.index("")] = str(row["fault"]).replace("|", "/")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(row: Row, key: str, form: str) -> str:
    value = row.get(key)
    return "" if value is None else format(value, form)


def save(path: Path, results: Mapping[str, object]) -> None:
    """Write results as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1) + "\n")
