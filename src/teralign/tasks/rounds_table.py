"""Tables of rounds: a row is a moving volume, the fixed one that it was aligned to, and the transforms between them.

    id,fixed,moving,transform
    round2,round1.zarr,round2.zarr,results/round2/transform.zarr

Further columns are optional: fixed_channel and moving_channel, the channels that show the same structures (0 by
default), fixed_spacing and moving_spacing (x;y;z in µm), fixed_expansion and moving_expansion (factors). Several
transforms have semicolons between them, outermost first. Paths are relative to the table's folder.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from teralign.alignment import Side
from teralign.errors import InputError
from teralign.grids import FloatTriple
from teralign.transforms import Stack, load_stack

_NEEDED = ("id", "fixed", "moving", "transform")
_OPTIONAL = tuple(f"{role}_{what}" for what in ("channel", "spacing", "expansion") for role in ("fixed", "moving"))


@dataclass(frozen=True)
class AlignedRound:
    """A pair of a table: its id, both volumes, and the files of transforms between them, outermost first."""

    id: str
    fixed: Side
    moving: Side
    transforms: tuple[Path, ...]

    def load(self) -> Stack:
        """Return the map from fixed to moving points. Raises InputError when a file holds none."""
        return load_stack(self.transforms)


def read_rounds(path: str | Path) -> list[AlignedRound]:
    """Read a table of rounds. Raises InputError for a table that is none, with the row and the column."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the table of rounds {path} cannot be read as text in UTF-8: {error}.") from error
    table = csv.DictReader(io.StringIO(text, newline=""))
    names = table.fieldnames or []
    for name in _NEEDED:
        if name not in names:
            raise InputError(f"the table of rounds {path} has no column {name}; it needs {', '.join(_NEEDED)}.")
    for name in names:
        if name not in (*_NEEDED, *_OPTIONAL):
            raise InputError(f"the table of rounds {path} has the column {name!r}; known: {', '.join(_OPTIONAL)}.")
    rounds = [_round(path, number, row) for number, row in enumerate(table, start=2)]
    if not rounds:
        raise InputError(f"the table of rounds {path} has no rows.")
    ids = [one.id for one in rounds]
    for name in ids:
        if ids.count(name) > 1:
            raise InputError(f"the table of rounds {path} has two rows with the id {name}; ids must differ.")
    return rounds


def _round(path: Path, line: int, row: Mapping[str, str | None]) -> AlignedRound:
    cells = {name: (value or "").strip() for name, value in row.items() if name}
    for name in _NEEDED:
        if not cells[name]:
            raise InputError(f"line {line} of {path} has no {name}.")
    fixed, moving = (
        Side(
            _placed(path, cells[role]),
            _spacing(path, line, f"{role}_spacing", cells.get(f"{role}_spacing", "")),
            _channel(path, line, f"{role}_channel", cells.get(f"{role}_channel", "")),
            expansion=_expansion(path, line, f"{role}_expansion", cells.get(f"{role}_expansion", "")),
        )
        for role in ("fixed", "moving")
    )
    transforms = tuple(Path(_placed(path, part.strip())) for part in cells["transform"].split(";") if part.strip())
    return AlignedRound(cells["id"], fixed, moving, transforms)


def _placed(table: Path, name: str) -> str:
    """Return a path or an address; a relative path is in the table's folder."""
    return name if "://" in name else str(table.parent / name)


def _channel(path: Path, line: int, column: str, text: str) -> int:
    if not text:
        return 0
    if not text.isdecimal():
        raise InputError(f"line {line} of {path}: {column} must be a channel, counted from 0, not {text!r}.")
    return int(text)


def _expansion(path: Path, line: int, column: str, text: str) -> float:
    try:
        return float(text or 1)
    except ValueError:
        raise InputError(f"line {line} of {path}: {column} must be a number, not {text!r}.") from None


def _spacing(path: Path, line: int, column: str, text: str) -> FloatTriple | None:
    if not text:
        return None
    try:
        x, y, z = (float(part) for part in text.split(";"))
    except ValueError:
        raise InputError(f"line {line} of {path}: {column} must be x;y;z in µm, not {text!r}.") from None
    return z, y, x
