"""The positions of voxels as coordinates of DataArrays: along z, y and x, in µm, the centres of the voxels.

A DataArray that `open` gives also has the attributes `spacing` and `origin` (z, y, x; µm). The coordinates decide: a
cropped or strided DataArray keeps its place. The attributes only give the size of a voxel along an axis with a single
one, and the exact numbers where coordinates are rounded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from teralign.api.elements import matrix_of, placement_of
from teralign.errors import InputError
from teralign.grids import Floats, FloatTriple, Grid, as_float_triple, as_triple
from teralign.volumes import Direction
from teralign.volumes.units import micrometres

if TYPE_CHECKING:
    import xarray as xr

DIMENSIONS = ("z", "y", "x")
"""The dimensions of a volume, in order."""
UNIT = "µm"
_SAME = 1e-6  # of a voxel: rounding of coordinates
_EVEN = 1e-3  # of a voxel: how far the steps of coordinates may differ


def coordinates_of(grid: Grid) -> dict[str, tuple[str, Floats, dict[str, str]]]:
    """Return the coordinates of a grid, as a DataArray takes them: by dimension, with their unit."""
    axes = zip(DIMENSIONS, grid.shape, grid.spacing, grid.origin, strict=True)
    return {name: (name, _positions(n, step, origin), {"units": UNIT}) for name, n, step, origin in axes}


def _positions(count: int, step: float, first: float) -> Floats:
    positions: Floats = first + np.arange(count, dtype=np.float64) * step
    return positions


def attributes_of(grid: Grid, direction: Direction | None) -> dict[str, object]:
    """Return the attributes of a DataArray on a grid; `direction` only where its axes are oblique."""
    oblique = {} if direction is None else {"direction": direction}
    return {"spacing": grid.spacing, "origin": grid.origin, **oblique}


def direction_of(array: xr.DataArray) -> Direction | None:
    """Return the direction of the axes of a DataArray, None where they are straight."""
    given = array.attrs.get("direction")
    if given is None:
        return None
    z, y, x = (as_float_triple(row) for row in given)
    return z, y, x


def spacing_of(role: str, spacing: float | Sequence[float]) -> FloatTriple:
    """Return a voxel size (z, y, x) in µm as a user gives it. Raises InputError for what is none."""
    try:
        found = as_float_triple((spacing,) * 3 if isinstance(spacing, int | float | np.number) else spacing)
        if isinstance(spacing, str):
            raise TypeError(spacing)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"the spacing of the {role} image must be three numbers (z, y, x) in µm, not {spacing!r}."
        ) from error
    if not all(np.isfinite(value) and value > 0 for value in found):
        raise InputError(f"the spacing of the {role} image must be positive, not {spacing!r}.")
    return found


def grid_of(role: str, array: xr.DataArray, spacing: FloatTriple | None = None) -> Grid:
    """Return the grid of a DataArray (z, y, x): from its coordinates, or without any from `spacing` (µm).

    The coordinates of an element of SpatialData count voxels, which its transformation places.
    Raises InputError where coordinates are missing, uneven, or of an unknown unit.
    """
    matrix = matrix_of(array)
    if matrix is not None:
        sizes, zero = placement_of(role, matrix, spacing)
        counted = [_axis(role, array, name, 1.0) for name in DIMENSIONS]
        return Grid(
            as_triple(array.sizes[name] for name in DIMENSIONS),
            as_float_triple(size * step for size, (_, step) in zip(sizes, counted, strict=True)),
            as_float_triple(o + size * first for o, size, (first, _) in zip(zero, sizes, counted, strict=True)),
        )
    stated = array.attrs.get("spacing")
    known: Sequence[float | None] = spacing or ((None,) * 3 if stated is None else as_float_triple(stated))
    lacking = [name for name in DIMENSIONS if name not in array.coords]
    if lacking and spacing is None:
        raise InputError(
            f"the {role} DataArray has no coordinates along {', '.join(lacking)}, so its voxel size is unknown: "
            "give spacing=(z, y, x) in µm, or coordinates."
        )
    axes = [_axis(role, array, name, size) for name, size in zip(DIMENSIONS, known, strict=True)]
    return Grid(
        as_triple(array.sizes[name] for name in DIMENSIONS),
        as_float_triple(step for _, step in axes),
        as_float_triple(first for first, _ in axes),
    )


def _axis(role: str, array: xr.DataArray, name: str, size: float | None) -> tuple[float, float]:
    """Return the first position and the step along a dimension, in µm; `size` is the step if it is known."""
    if name not in array.coords:
        assert size is not None
        return 0.0, size
    unit = str(array.coords[name].attrs.get("units", UNIT))
    scale = micrometres(unit)
    if scale is None:
        raise InputError(f"the coordinates {name} of the {role} DataArray are in {unit!r}, which is no known length.")
    values = np.asarray(array.coords[name].values, dtype=np.float64) * scale
    if len(values) == 1:
        if size is None:
            raise InputError(
                f"the {role} DataArray has one voxel along {name}, whose size its coordinates do not give: give "
                "spacing=(z, y, x) in µm."
            )
        return float(values[0]), size
    step = float(values[-1] - values[0]) / (len(values) - 1)
    if size is not None and abs(step - size) * (len(values) - 1) <= _SAME * size:
        step = size
    if step <= 0 or np.abs(np.diff(values) - step).max() > _EVEN * abs(step):
        raise InputError(
            f"the coordinates {name} of the {role} DataArray do not rise in even steps, so its voxels lie on no grid."
        )
    return float(values[0]), step
