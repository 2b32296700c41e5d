"""`read_points`: points as arrays, of tables in files and of data frames."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from teralign.api.elements import matrix_of
from teralign.errors import InputError
from teralign.grids import Floats
from teralign.transforms import read_point_table

if TYPE_CHECKING:
    import pandas as pd

PointsLike: TypeAlias = "str | Path | pd.DataFrame"
"""Points: the path of a table, or a data frame of pandas or dask with columns x, y and z."""


def read_points(points: PointsLike) -> Floats:
    """Return the points (n, 3), z, y, x in µm, of a table of text or of a data frame, in its order.

    A table has columns named x, y and z, in µm, or has them first. A data frame of pandas or dask has columns of
    these names. The points of SpatialData are placed by their transformation to "global", which is taken to be in µm.

    Raises InputError for a table whose columns are not clear, with the line for a row that is no point.

    Examples:
        >>> np.savetxt("spots.csv", [[30.0, 20.0, 10.0]], delimiter=",")
        >>> ta.read_points("spots.csv").tolist()
        [[10.0, 20.0, 30.0]]
    """
    if isinstance(points, str | os.PathLike):
        return read_point_table(Path(points)).points
    columns = [str(name) for name in getattr(points, "columns", ())]
    lacking = [name for name in "xyz" if name not in columns]
    if lacking:
        known = f"a data frame that lacks the columns {', '.join(lacking)}" if columns else type(points).__name__
        raise InputError(f"points are the path of a table, or a data frame with columns x, y and z, not {known}.")
    rows = points[["z", "y", "x"]]
    found = rows.compute() if hasattr(rows, "compute") else rows
    values: Floats = np.asarray(found, dtype=np.float64)
    matrix = matrix_of(points)
    return values if matrix is None else values @ matrix[:3, :3].T + matrix[:3, 3]
