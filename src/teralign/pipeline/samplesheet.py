"""Samplesheets: tables of pairs or of rounds of tiles, as editors and spreadsheets save them.

The text is UTF-8, UTF-16 (both with or without a byte order mark) or Windows' cp1252, with commas, semicolons or tabs
between the cells. Empty rows and columns and lines that begin with # are left out.
"""

from __future__ import annotations

import codecs
import csv
import io
import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from teralign.errors import InputError
from teralign.files import refuse_device

COLUMNS = (
    "id",
    "fixed",
    "moving",
    "fixed_mask",
    "moving_mask",
    "fixed_mask_labels",
    "moving_mask_labels",
    "fixed_channel",
    "moving_channel",
    "fixed_roi",
    "moving_roi",
    "expansion",
    "moving_expansion",
    "initial_transform",
    "global_transform",
    "local_transform",
    "aff_scale",
    "def_scale",
    "apply_to",
    "apply_scale",
    "apply_grid_scale",
    "warped_name",
    "fixed_landmarks",
    "moving_landmarks",
)
_LARGEST_SHEET = 16 << 20  # bytes: a hundred thousand pairs
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


@dataclass(frozen=True)
class SheetKind:
    """The kind of rows of a samplesheet: their name in messages, their columns, and those that no row lacks."""

    content: str
    columns: tuple[str, ...]
    required: tuple[str, ...]


PAIRS_SHEET = SheetKind("pair", COLUMNS, ("id", "fixed", "moving"))
TILES_SHEET = SheetKind(
    "round",
    (
        *("id", "tiles", "tiles_spacing", "tiles_mirror", "tiles_swap_xy", "tiles_channel"),
        *(name for name in COLUMNS if name not in ("id", "moving")),
    ),
    ("id", "tiles"),
)


@dataclass(frozen=True)
class Row:
    """A row of a samplesheet: its cells by column, and its number, counted from the line below the columns."""

    number: int
    cells: dict[str, str]


def read_samplesheet(path: Path, kind: SheetKind = PAIRS_SHEET) -> list[Row]:
    """Read the rows of a samplesheet of a kind.

    Raises InputError when the file cannot be read, lacks a column or has an unknown column, and for a row without a
    value in a required column.
    """
    records = _records(_text(path))
    if len(records) < 2:
        raise InputError(
            f"{path.name} has no rows: it needs a line of columns ({','.join(kind.required)}) and a line for each "
            f"{kind.content}."
        )
    columns = [name.lower() for name in records[0]]
    _check_columns(path.name, columns, kind)
    rows = []
    for number, record in enumerate(records[1:], 1):
        if not any(record):
            continue
        named = list(itertools.zip_longest(columns, record[: len(columns)], fillvalue=""))
        nameless = [cell for column, cell in (*named, *(("", cell) for cell in record[len(columns) :])) if not column]
        if any(nameless):
            raise InputError(
                f"{path.name}, row {number}: '{next(filter(None, nameless))}' is in a column without a name; name "
                "the column, or quote a cell that has commas in it."
            )
        rows.append(Row(number, {column: cell for column, cell in named if column}))
    _check_rows(path.name, rows, kind)
    return rows


def _text(path: Path) -> str:
    try:
        refuse_device(path)
        with path.open("rb") as file:
            content = file.read(_LARGEST_SHEET + 1)
    except FileNotFoundError as error:
        raise InputError(f"--input: {path} does not exist.") from error
    except OSError as error:
        raise InputError(f"--input: {path} cannot be read: {error.strerror}.") from error
    if len(content) > _LARGEST_SHEET:
        raise InputError(f"{path.name} has more than {_LARGEST_SHEET >> 20} MB; choose the samplesheet.")
    if content.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        raise InputError(f"{path.name} is a spreadsheet; save it as CSV and give that.")
    marked = next((encoding for mark, encoding in _MARKS.items() if content.startswith(mark)), None)
    if marked is None and b"\0" in content[:4]:
        marked = "utf-16-be" if content[0] == 0 else "utf-16-le"
    for encoding in (marked,) if marked else ("utf-8", "cp1252"):
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise InputError(f"{path.name} is not a text file; save it as CSV in UTF-8.")


def _records(text: str) -> list[list[str]]:
    """Split a table into cells without the blanks around them; the first record has the columns."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    separator = None
    if lines and lines[0].lower().strip().strip('"').startswith("sep="):  # Excel's own line
        separator = lines.pop(0).strip().strip('"')[4:5]
    body = [line for line in lines if not line.lstrip().startswith("#")]
    header = next((line for line in body if line.strip(" ,;\t")), "")
    separator = separator or next((mark for mark in "\t,;" if mark in header), ",")
    table = csv.reader(io.StringIO("\n".join(body)), delimiter=separator, skipinitialspace=True)
    try:
        records = [[cell.strip() for cell in record] for record in table]  # no-break spaces as well
    except csv.Error as error:
        raise InputError(f"--input: line {table.line_num} cannot be read: {error}; save it as CSV again.") from error
    while records and not any(records[0]):
        records.pop(0)
    return [records[0], *records[1:]] if any(any(record) for record in records[1:]) else records[:1]


def _check_columns(name: str, columns: Sequence[str], kind: SheetKind) -> None:
    for column in columns:
        if column and column not in kind.columns:
            raise InputError(f"{name} has a column '{column}', which is not one of {', '.join(kind.columns)}.")
        if column and columns.count(column) > 1:
            raise InputError(f"{name} has {columns.count(column)} columns '{column}'; keep only one.")


def _check_rows(name: str, rows: Sequence[Row], kind: SheetKind) -> None:
    for row in rows:
        for column in kind.required:
            if not row.cells.get(column):
                raise InputError(f"{name}, row {row.number}: the column {column} is missing or empty.")
    for found, count in Counter(row.cells["id"] for row in rows).items():
        if count > 1:
            raise InputError(f"{name} has {count} rows with the id {found}: each {kind.content} needs its own.")
