"""JSON of unknown content, narrowed: the value of the wanted type, or an empty one where it is of another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from teralign.results import Json

JsonObject: TypeAlias = Mapping[str, Json]

Metadata: TypeAlias = dict[str, Any]
"""A JSON object of a format's metadata, whose values are checked where they are used."""


def as_object(value: Json) -> dict[str, Json]:
    """Return an object as it is, {} for any other value."""
    return value if isinstance(value, dict) else {}


def as_list(value: Json) -> list[Json]:
    """Return a list as it is, [] for any other value."""
    return value if isinstance(value, list) else []


def as_number(value: Json) -> float | None:
    """Return a number, which may be written as text, None for any other value."""
    if not isinstance(value, int | float | str) or isinstance(value, bool):
        return None
    try:
        return float(value)
    except ValueError:
        return None
