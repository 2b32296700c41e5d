"""A summary of the steps of a global alignment: where it started, and the outcome of each step."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from teralign.errors import InputError


@dataclass(frozen=True)
class StepSummary:
    """The outcome of a step: `improved`, or `kept` with the reason. Higher metrics are better; None: not measured."""

    name: str
    state: str
    reason: str
    metric_before: float | None
    metric_after: float | None


@dataclass(frozen=True)
class GlobalSummary:
    """The steps of a global alignment and the files it started from; a `skipped` one has no steps."""

    skipped: bool
    started_from: Sequence[str]
    steps: Sequence[StepSummary]


def summarise_steps(path: Path) -> GlobalSummary:
    """Return a summary of the .json of a global alignment. Raises InputError for any other file."""
    try:
        content = json.loads(path.read_text())
        return GlobalSummary(
            skipped=bool(content.get("skipped")),
            started_from=[str(name) for name in content.get("started_from", ())],
            steps=[
                StepSummary(s["name"], s["state"], s["reason"], s["metric_before"], s["metric_after"])
                for s in content["steps"]
            ],
        )
    except OSError as error:
        raise InputError(f"--global-report {path} cannot be read: {error.strerror or error}.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"--global-report {path} is not the .json that global-align writes.") from error
