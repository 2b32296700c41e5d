"""Read and write `tiles.json`."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from teralign.errors import InputError
from teralign.results import FORMAT, write_json
from teralign.tiles.model import TileSet
from teralign.volumes.files import read_json

_HEAD = ("format", "teralign", "run")  # of every document
_T = TypeVar("_T")


def read_tiles(path: str | Path) -> TileSet:
    """Return the tiles of a `tiles.json`.

    Raises InputError, in one sentence, for a file that is not there, that is another document, that has unknown keys,
    or lacks some, and for values that make no set of tiles.
    """
    return read_document(Path(path), TileSet, "tiles")


def write_tiles(path: str | Path, tiles: TileSet) -> None:
    """Write tiles as a document, whole or not at all."""
    write_json(Path(path), tiles)


def read_document(path: Path, kind: type[_T], name: str) -> _T:
    """Return the dataclass `kind` of the document at `path`, whose key `kind` is `name`.

    Raises InputError as `read_tiles`.
    """
    content = read_json(path)
    if not content:
        raise InputError(f"there is no {path}, or it is empty; check the path.")
    if content.get("kind") != name:
        raise InputError(f"{path} is no document of {name}: its key kind is {content.get('kind')!r}.")
    if content.get("format", FORMAT) != FORMAT:
        raise InputError(f"{path} has the format {content['format']!r}, where this version reads {FORMAT}.")
    try:
        adapter: TypeAdapter[_T] = TypeAdapter(kind)
        return adapter.validate_python({k: v for k, v in content.items() if k not in _HEAD})
    except ValidationError as error:
        raise InputError(f"{path} {_sentence(error)}") from error


def _sentence(error: ValidationError) -> str:
    """Return the first problem as the end of a sentence, unknown and missing keys before all else."""
    first = ("unexpected_keyword_argument", "missing")
    problem = min(error.errors(), key=lambda p: first.index(p["type"]) if p["type"] in first else len(first))
    *outer, key = [str(part) for part in problem["loc"]] or [""]
    place = ".".join(outer) or "its top"
    if problem["type"] == "unexpected_keyword_argument":
        return f"has the unknown key {key!r} at {place}; remove it, or write the file with this version."
    if problem["type"] == "missing":
        return f"lacks the key {key!r} at {place}; add it."
    message = problem["msg"].removeprefix("Value error, ").removeprefix("Input ").rstrip(".")
    return f"holds at {'.'.join([*outer, key]) or 'its top'} what cannot be used: {message}; correct it."
