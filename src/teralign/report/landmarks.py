"""Target registration error: the distance of mapped landmarks from their true positions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from teralign.errors import InputError
from teralign.grids import Floats
from teralign.progress import counted
from teralign.transforms import Stack


@dataclass(frozen=True)
class LandmarkErrors:
    """Median, 95th percentile and mean in µm of the errors at `n` landmarks."""

    median: float
    p95: float
    mean: float
    n: int


def landmark_errors(stack: Stack, fixed_csv: Path, moving_csv: Path) -> LandmarkErrors:
    """Return the errors of a stack of transforms over pairs of landmarks.

    The files hold x,y,z in µm, the same landmarks in the same order. Raises InputError for other files.
    """
    fixed, moving = read_points(fixed_csv), read_points(moving_csv)
    if len(fixed) != len(moving) or len(fixed) == 0:
        raise InputError(
            f"{fixed_csv} has {counted(len(fixed), 'point')}, {moving_csv} has {len(moving)}; they must be pairs."
        )
    errors = np.linalg.norm(stack.map_points(fixed) - moving, axis=1)
    return LandmarkErrors(
        float(np.median(errors)), float(np.percentile(errors, 95)), float(errors.mean()), len(errors)
    )


def read_points(path: Path) -> Floats:
    """Return the points (n, 3), z, y, x, of a CSV file of x,y,z without header. Raises InputError for other files."""
    try:
        points = np.loadtxt(path, delimiter=",", ndmin=2, usecols=(2, 1, 0), dtype=np.float64)
    except OSError as error:
        raise InputError(f"the landmarks {path} cannot be read: {error.strerror or error}.") from error
    except (ValueError, IndexError) as error:
        raise InputError(f"the landmarks {path} must be lines of x,y,z in µm without a header.") from error
    if not np.isfinite(points).all():
        raise InputError(f"the landmarks {path} contain NaN or infinite numbers.")
    return points
