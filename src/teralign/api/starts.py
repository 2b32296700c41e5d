"""Initial transforms as users give them: matrices, fields, transforms, files, registrations, lists of these."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from teralign.api.registration import Registration
from teralign.errors import InputError
from teralign.grids import Floats, Grid
from teralign.transforms import Affine, DisplacementField, Stack, StoredField, load_stack

OneTransform: TypeAlias = "Floats | Affine | DisplacementField | StoredField | Stack | Registration | str | Path"
TransformLike: TypeAlias = "OneTransform | Sequence[OneTransform]"
"""A map from fixed to moving points: a 4×4 matrix (z, y, x; µm), a field (z, y, x, 3) on the fixed grid, a transform,
a file, a registration, or a list of them, outermost first: the last is applied first."""


def stack_of(given: TransformLike | None, fixed: Grid) -> Stack:
    """Return initial transforms as one map. Raises InputError for what is none."""
    if given is None:
        return Stack()
    if isinstance(given, list | tuple):
        parts = [part for one in given for part in _parts(one, fixed)]
        return Stack(tuple(parts))
    return Stack(_parts(given, fixed))  # type: ignore[arg-type]


def _parts(given: OneTransform, fixed: Grid) -> tuple[Affine | DisplacementField | StoredField, ...]:
    """Return the transforms of one entry, outermost first."""
    match given:
        case Stack():
            return given.transforms  # type: ignore[return-value]
        case Registration():
            return given.transform.transforms  # type: ignore[return-value]
        case Affine() | DisplacementField() | StoredField():
            return (given,)
        case str() | os.PathLike():
            return load_stack([given]).transforms  # type: ignore[return-value]
        case np.ndarray():
            return (_of_array(given, fixed),)
    raise InputError(
        "an initial transform must be a 4x4 matrix, a transform of Teralign, a registration, or the path of a file, "
        f"not a {type(given).__name__}."
    )


def _of_array(values: NDArray[np.generic], fixed: Grid) -> Affine | DisplacementField:
    """Return a matrix as an affine, and an array of vectors on the voxels of the fixed image as a field."""
    if values.shape == (*fixed.shape, 3):
        return DisplacementField(values.astype(np.float32), fixed)
    if values.ndim != 2:
        raise InputError(
            f"an initial transform of shape {values.shape} is neither a 4x4 matrix nor a field on the fixed image, "
            f"{(*fixed.shape, 3)}; a field on a grid of its own is DisplacementField(values, grid)."
        )
    try:
        return Affine(values.astype(np.float64))
    except ValueError as error:
        raise InputError(f"{error}.") from error
