"""Target registration error: the distance of mapped landmarks from their true positions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from teralign.errors import InputError
from teralign.progress import counted
from teralign.transforms import Stack, read_point_table


@dataclass(frozen=True)
class LandmarkErrors:
    """Median, 95th percentile and mean in µm of the errors at `n` landmarks."""

    median: float
    p95: float
    mean: float
    n: int


def landmark_errors(stack: Stack, fixed_csv: Path, moving_csv: Path) -> LandmarkErrors:
    """Return the errors of a stack of transforms over pairs of landmarks.

    The files are tables of points with the same landmarks in the same order. Raises InputError for other files.
    """
    fixed, moving = (read_point_table(path).points for path in (fixed_csv, moving_csv))
    if len(fixed) != len(moving) or len(fixed) == 0:
        raise InputError(
            f"{fixed_csv} has {counted(len(fixed), 'point')}, {moving_csv} has {len(moving)}; they must be pairs."
        )
    errors = np.linalg.norm(stack.map_points(fixed) - moving, axis=1)
    return LandmarkErrors(
        float(np.median(errors)), float(np.percentile(errors, 95)), float(errors.mean()), len(errors)
    )
