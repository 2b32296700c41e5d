"""The result of one check."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Standing(enum.StrEnum):
    """The outcome of a check in a word."""

    OK = "ok"
    NOTE = "note"
    """Works, but slower or with a limit that `advice` names."""
    ABSENT = "absent"
    """Not here, and only some uses need it."""
    MISSING = "missing"
    """Not here, and every command needs it."""


@dataclass(frozen=True)
class Observation:
    """One thing that was looked at: what was found, what it is for, and what to do where it is not right."""

    name: str
    standing: Standing
    found: str
    purpose: str = ""
    advice: str = ""
