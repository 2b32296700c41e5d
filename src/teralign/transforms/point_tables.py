"""Tables of points: text files with a point in each row, whose columns x, y and z are in µm.

With a header the columns are found by name: `x`, or a name with the letter among its words, such as `Position X`,
`x_um` or `x (µm)`. Without one, the first three columns are x, y, z. All other columns are kept as they are. Columns
are separated by commas, semicolons or tabs. Text is UTF-8, or UTF-16 as spreadsheets save it, or Windows-1252.
"""

from __future__ import annotations

import codecs
import csv
import io
import logging
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from teralign.errors import InputError
from teralign.files import refuse_device, write_atomically
from teralign.grids import Floats

log = logging.getLogger(__name__)

SPACE_COLUMN = "space"
"""The column that says of which volume the points are: `fixed` or `moving`."""
_AXES = "xyz"
_MICROMETRES = {"um", "µm", "μm", "micron", "microns", "micrometer", "micrometers", "micrometre", "micrometres"}
_OTHER_UNITS = {
    *("px", "pix", "pixel", "pixels", "voxel", "voxels", "vx", "nm", "nanometer", "nanometers", "nanometre"),
    *("nanometres", "mm", "millimeter", "millimeters", "millimetre", "millimetres"),
}
_BYTE_ORDER_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_DELIMITERS = ",;\t"
_SHOWN = 200  # characters of a bad line
_START = 1 << 16  # bytes that hold the header and the first point


@dataclass(frozen=True)
class PointTable:
    """A table of points. `points` (n, 3) are z, y, x in µm; `columns` are the places of x, y and z in a row.

    `header` is empty for a table without one.
    """

    path: Path
    header: tuple[str, ...]
    rows: Sequence[Sequence[str]]
    points: Floats
    columns: tuple[int, int, int]
    delimiter: str = ","

    @property
    def space(self) -> str:
        """The volume of the points by the column `space` of the first row: fixed, moving, or "" if not given."""
        if SPACE_COLUMN not in self.header or not self.rows:
            return ""
        place = self.header.index(SPACE_COLUMN)
        value = self.rows[0][place].strip() if place < len(self.rows[0]) else ""
        return value if value in ("fixed", "moving") else ""

    def moved(self, points: Floats, space: str) -> PointTable:
        """Return the table with other points (n, 3), of the volume `space`.

        In a table with a header the column `space` names the volume, unless a column of this name holds other values.
        """
        taken = SPACE_COLUMN in self.header
        if not self.header or (taken and self.rows and not self.space):
            return replace(self, points=points)
        place = self.header.index(SPACE_COLUMN) if taken else len(self.header)
        rows = [_with_cell(row, place, space) for row in self.rows]
        return replace(self, points=points, rows=rows, header=_with_cell(self.header, place, SPACE_COLUMN))

    def save(self, path: Path) -> None:
        """Write the table as UTF-8, whole or not at all; positions have six decimals, and are nan if not finite."""
        text = io.StringIO()
        out = csv.writer(text, delimiter=self.delimiter, lineterminator="\n")
        if self.header:
            out.writerow(self.header)
        for row, (z, y, x) in zip(self.rows, self.points.tolist(), strict=True):
            cells = list(row)
            for place, value in zip(self.columns, (x, y, z), strict=True):
                cells[place] = f"{value:.6f}"
            out.writerow(cells)
        write_atomically(path, text.getvalue().encode())


def read_point_table(path: Path) -> PointTable:
    """Read a table of points.

    Raises InputError when it cannot be read, when its header does not name the columns x, y and z in µm, and for
    a row that is not a point, with its line.
    """
    header, columns, rows, delimiter = _parsed(path, _text(path))
    return PointTable(path, header, [row for _, row in rows], _points(path, rows, columns), columns, delimiter)


def check_point_table(path: Path) -> None:
    """Raise InputError as `read_point_table` does for the header and the first row, without reading the others."""
    _, columns, rows, _ = _parsed(path, _text(path, max_bytes=_START))
    _points(path, rows[:1], columns)


def _parsed(path: Path, text: str) -> tuple[tuple[str, ...], tuple[int, int, int], list[tuple[int, list[str]]], str]:
    """Return the header (empty for none), the places of x, y and z, the rows with their lines, and the separator."""
    delimiter = _delimiter(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        rows = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise InputError(f"line {reader.line_num} of the points {path} cannot be read: {error}.") from error
    if not rows or not _is_header(rows[0][1]):
        return (), (0, 1, 2), rows, delimiter
    header = tuple(rows[0][1])
    return header, _columns(path, header), rows[1:], delimiter


def _text(path: Path, *, max_bytes: int | None = None) -> str:
    """Return the whole lines of a text file, of its first `max_bytes` if given.

    Raises InputError when it cannot be read, or its encoding is not known.
    """
    try:
        refuse_device(path)
        with path.open("rb") as file:
            content = file.read(-1 if max_bytes is None else max_bytes)
            whole = not file.read(1)
    except OSError as error:
        raise InputError(f"the points {path} cannot be read: {error.strerror}.") from error
    encoding = _encoding(content)
    for name in [encoding] if encoding else ["utf-8", "cp1252"]:
        try:
            text = codecs.getincrementaldecoder(name)().decode(content, final=whole)
        except UnicodeDecodeError:
            continue
        if name == "cp1252":
            log.warning("the points %s are not UTF-8; they are read as Windows-1252", path)
        if "\0" not in text:
            return text if whole else text[: text.rfind("\n") + 1]
    raise InputError(f"the points {path} are not text in UTF-8, UTF-16 or Windows-1252; save them as CSV in UTF-8.")


def _encoding(content: bytes) -> str:
    """Return the encoding that the first bytes show, by a mark or by UTF-16's zeros; "" if they show none."""
    for mark, name in _BYTE_ORDER_MARKS.items():
        if content.startswith(mark):
            return name
    head = content[:256]
    if len(head) > 1 and b"\0" in head:
        return "utf-16-le" if head[1] == 0 else "utf-16-be"
    return ""


def _delimiter(text: str) -> str:
    """Return the separator of the columns: the most frequent one of the first line that is not empty."""
    first = next((line for line in io.StringIO(text) if line.strip()), "")
    return max(_DELIMITERS, key=first.count)


def _is_header(row: Sequence[str]) -> bool:
    """Return whether the first row names columns: it is not a point, and names x, y or z or holds no number."""
    if len(row) >= 3 and all(_is_number(cell) for cell in row[:3]):
        return False
    return any(_axis(cell) for cell in row) or not any(_is_number(cell) for cell in row)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _words(name: str) -> list[str]:
    """Return the words of a column's name in lower case: `Position X [µm]` has position, x and µm."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)  # camelCase
    return re.findall(r"[^\W_]+", spaced.lower())


def _axis(name: str) -> str:
    """Return the axis that a column's name has among its words; "" for none or several."""
    found = [word for word in _words(name) if word in _AXES]
    return found[0] if len(found) == 1 else ""


def _columns(path: Path, header: Sequence[str]) -> tuple[int, int, int]:
    """Return the places of x, y and z. Raises InputError when the header lacks them or gives another unit."""
    x, y, z = (_column(path, header, axis) for axis in _AXES)
    for place in (x, y, z):
        other = [word for word in _words(header[place]) if word in _OTHER_UNITS]
        if other:
            raise InputError(
                f"the points {path} have the column {header[place].strip()!r}, in {other[0]}; they must be in µm."
            )
    return x, y, z


def _column(path: Path, header: Sequence[str], axis: str) -> int:
    """Return the place of an axis: the column of that name, with a unit or not, else the only one that has it."""
    named = [i for i, name in enumerate(header) if _axis(name) == axis]
    besides = {i: set(_words(header[i])) - {axis} for i in named}
    plain = [i for i in named if besides[i] <= _MICROMETRES]
    with_unit = [i for i in named if besides[i] <= _MICROMETRES | _OTHER_UNITS]
    for found in (plain, with_unit, named):
        if len(found) == 1:
            return found[0]
    fault = f"has several columns for {axis}" if named else f"has no column {axis}"
    shown = ", ".join(name.strip() or "''" for name in header)
    raise InputError(
        f"the header of the points {path} {fault} (its columns: {shown}); name three columns x, y and z, in µm."
    )


def _points(path: Path, rows: Sequence[tuple[int, Sequence[str]]], columns: tuple[int, int, int]) -> Floats:
    """Return the points (n, 3) of numbered rows as z, y, x."""
    found = np.empty((len(rows), 3))
    for i, (line, row) in enumerate(rows):
        try:
            x, y, z = (float(row[place]) for place in columns)
        except (ValueError, IndexError) as error:
            raise InputError(
                f"line {line} of {path} is not a point: it must hold x, y and z in µm in the columns "
                f"{', '.join(str(place + 1) for place in columns)}, not {','.join(row)[:_SHOWN]!r}."
            ) from error
        if not (math.isfinite(x) and math.isfinite(y) and math.isfinite(z)):
            raise InputError(f"line {line} of {path} is not a point: {x:g}, {y:g}, {z:g} is not finite.")
        found[i] = z, y, x
    return found


def _with_cell(row: Sequence[str], place: int, value: str) -> tuple[str, ...]:
    """Return a row with `value` at a place, which may lie beyond its end."""
    cells = [*row, *[""] * (place + 1 - len(row))]
    cells[place] = value
    return tuple(cells)
