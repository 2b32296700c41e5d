"""`transform-points`: a table of points through transforms, or back."""

from __future__ import annotations

import csv
import io
import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from teralign.cluster import worker_threads
from teralign.errors import InputError
from teralign.files import write_atomically
from teralign.grids import Floats
from teralign.tasks.inputs import check_new_file
from teralign.transforms import load_stack

log = logging.getLogger(__name__)


def transform_points(
    points: Path,
    *,
    transforms: Sequence[Path],
    output: Path,
    inverse: bool = False,
    threads: int | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Map fixed points to where they lie in the moving volume, or with `inverse` moving points to fixed ones.

    `points` is a CSV file: x, y, z in µm in the first three columns, whatever else behind, which is kept; a first
    line that is no numbers is a header and stays. `transforms` are files, outermost first. `output` has the same
    lines in the same order. A point whose inverse does not converge becomes `nan`
    and is counted in what is returned.

    Raises InputError naming the line of a point that is no point.
    """
    stack = load_stack(transforms)
    header, rows = _read_rows(points)
    coordinates = _parse(points, rows, first_line=1 + len(header))
    check_new_file(output, overwrite=overwrite)
    threads = threads or worker_threads()
    lost = 0
    if inverse:
        mapped, converged = stack.inverse_map_points(coordinates, threads=threads)
        lost = int((~converged).sum())
        mapped[~converged] = math.nan
    else:
        mapped = stack.map_points(coordinates, threads=threads)
    if lost:
        log.warning("%d of %d points have no inverse here; they are written as nan", lost, len(rows))
    _write_rows(output, header, rows, mapped)
    return {"output": str(output), "points": len(rows), "not_converged": lost}


def _read_rows(path: Path) -> tuple[list[list[str]], list[list[str]]]:
    """The header (no or one row) and the other rows of a CSV file; empty lines are left out."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.reader(file) if row]
    except OSError as error:
        raise InputError(f"the points {path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"the points {path} are not a text file with commas.") from error
    if rows and not _is_number(rows[0][0]):
        return rows[:1], rows[1:]
    return [], rows


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _parse(path: Path, rows: list[list[str]], *, first_line: int) -> Floats:
    """The points (n, 3) of the rows as z, y, x."""
    found = np.empty((len(rows), 3))
    for i, row in enumerate(rows):
        try:
            x, y, z = (float(text) for text in row[:3])
        except ValueError as error:
            raise InputError(
                f"line {first_line + i} of {path} is no point: it must begin with x,y,z in µm, not {','.join(row)!r}."
            ) from error
        if not (math.isfinite(x) and math.isfinite(y) and math.isfinite(z)):
            raise InputError(f"line {first_line + i} of {path} is no point: {','.join(row[:3])} is not finite.")
        found[i] = z, y, x
    return found


def _write_rows(path: Path, header: list[list[str]], rows: list[list[str]], points: Floats) -> None:
    """Write the rows with new points, whole or not at all."""
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\n")
    out.writerows(header)
    out.writerows([*(f"{v:.6f}" for v in p[::-1]), *row[3:]] for p, row in zip(points, rows, strict=True))
    write_atomically(path, text.getvalue().encode())
