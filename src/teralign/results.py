"""Results as JSON that every parser reads.

JSON has no NaN and no infinities: they become null. Dataclasses become objects of their fields, enumerations their
values, paths strings, and numpy's scalars and arrays JSON's own numbers and lists. A document, in a file or on
standard output, begins with its format and the version that wrote it.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from teralign import __version__
from teralign.files import write_atomically

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Json: TypeAlias = "dict[str, Json] | list[Json] | str | float | bool | None"

FORMAT = 1
"""The format of the documents; it rises when a key changes its meaning or goes."""

_DRAFT = "https://json-schema.org/draft/2020-12/schema"


def to_json(value: object, *, indent: int | None = None) -> str:
    """Return `value` as JSON text. Raises TypeError for a type that this module's docstring does not name."""
    return json.dumps(to_plain(value), indent=indent, allow_nan=False)


def write_json(path: Path, value: object) -> None:
    """Write `value`, a dataclass or mapping, as a document to `path`, whole or not at all."""
    write_atomically(path, (to_json(document(value), indent=1) + "\n").encode())


def document(value: object) -> dict[str, Json]:
    """Return `value`, a dataclass or mapping, as a JSON object that begins with its format and our version."""
    plain = to_plain(value)
    if not isinstance(plain, dict):
        raise TypeError(f"a document is an object, not {type(value).__name__}")
    return {"format": FORMAT, "teralign": __version__, **plain}


def schema_of(kind: type) -> dict[str, Any]:
    """Return the JSON Schema of documents with the content of the dataclass `kind`."""
    from pydantic import TypeAdapter  # takes a moment to import, and few need it

    schema = TypeAdapter(kind).json_schema(mode="serialization")
    head = {
        "format": {"const": FORMAT, "description": "Rises when a key changes its meaning or goes."},
        "teralign": {"type": "string", "description": "The version that wrote the file."},
    }
    schema["properties"] = head | schema["properties"]
    schema["required"] = [*head, *schema["required"]]
    return {"$schema": _DRAFT, **schema}


def to_plain(value: object) -> Json:
    """Return `value` in JSON's own types, with null for numbers that are not finite."""
    if isinstance(value, enum.Enum):
        return to_plain(value.value)
    if value is None or isinstance(value, bool | str | int):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {name: to_plain(item) for name, item in shallow(value).items()}
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, np.generic | np.ndarray):
        return to_plain(value.tolist())
    raise TypeError(f"JSON has no place for {type(value).__name__}")


def shallow(value: DataclassInstance) -> dict[str, Any]:
    """Return the fields of a dataclass by name, as they are."""
    return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
