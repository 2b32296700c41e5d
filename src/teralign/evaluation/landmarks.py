"""Target registration error: the distance of mapped landmarks from their true positions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from teralign.errors import InputError
from teralign.grids import Floats
from teralign.progress import counted
from teralign.transforms import Stack, read_point_table


@dataclass(frozen=True)
class LandmarkErrors:
    """Median, 95th percentile, mean and maximum in µm of the errors at `n` landmarks."""

    median: float
    p95: float
    mean: float
    max: float
    n: int

    @classmethod
    def of(cls, errors: Floats) -> LandmarkErrors:
        """Return the statistics of errors (n,), at least one."""
        middle, p95 = np.percentile(errors, (50, 95)).tolist()
        return cls(middle, p95, float(errors.mean()), float(errors.max()), len(errors))


def landmark_errors(stack: Stack, fixed_csv: Path, moving_csv: Path) -> LandmarkErrors:
    """Return the errors of a stack of transforms over pairs of landmarks.

    The files are tables of points with the same landmarks in the same order. Raises InputError for other files.
    """
    return LandmarkErrors.of(errors_at(stack, *landmark_pairs(fixed_csv, moving_csv)))


def landmark_pairs(fixed_csv: Path, moving_csv: Path) -> tuple[Floats, Floats]:
    """Return the points (n, 3) of two tables with the same landmarks in the same order, z, y, x in µm.

    Raises InputError for other files, and for none.
    """
    fixed, moving = (read_point_table(path).points for path in (fixed_csv, moving_csv))
    if len(fixed) != len(moving) or len(fixed) == 0:
        raise InputError(
            f"{fixed_csv} has {counted(len(fixed), 'point')}, {moving_csv} has {len(moving)}; they must be pairs."
        )
    return fixed, moving


def errors_at(stack: Stack, fixed: Floats, moving: Floats, *, threads: int = 1) -> Floats:
    """Return the distances (n,) in µm of mapped fixed points (n, 3) from the moving points where they truly lie."""
    errors: Floats = np.linalg.norm(stack.map_points(fixed, threads=threads) - moving, axis=1)
    return errors
