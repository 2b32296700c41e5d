"""`doctor`: what Teralign finds on this machine, and what to install or change where something is missing."""

from __future__ import annotations

import enum
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from teralign.doctor import Observation, Standing, all_observations


class Health(enum.StrEnum):
    """The outcome of all checks together."""

    OK = "ok"
    MISSING = "missing"


@dataclass(frozen=True)
class Diagnosis:
    """The checks, the number of them by level, and `missing` if something that every command needs is missing."""

    state: Health
    counts: dict[str, int]
    checks: tuple[Observation, ...]


def doctor(folder: str | Path = ".") -> Diagnosis:
    """Return what works on this machine; `folder` is where results would go.

    Nothing is installed or changed; files that are written to try a folder are removed again.
    """
    checks = tuple(all_observations(Path(folder)))
    counts = Counter(str(check.standing) for check in checks)
    state = Health.MISSING if any(check.standing is Standing.MISSING for check in checks) else Health.OK
    return Diagnosis(state, dict(counts), checks)
