"""The kinds of fields: the meaning of their vectors, and the interpolation between their nodes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Interpolation(Enum):
    """The interpolation between nodes, by its name in OME-Zarr 0.6. All pass through the values at the nodes."""

    NEAREST = "nearest"
    LINEAR = "linear"
    CUBIC = "bspline-cubic"


@dataclass(frozen=True)
class FieldKind:
    """The interpolation of a field, and which components (z, y, x) are coordinates instead of displacements."""

    interpolation: Interpolation = Interpolation.LINEAR
    absolute: tuple[bool, bool, bool] = (False, False, False)
