"""Target registration error: how far mapped landmarks end up from where they belong."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from teralign.errors import InputError
from teralign.grids import Floats
from teralign.transforms import Stack


def landmark_errors(stack: Stack, fixed_csv: Path, moving_csv: Path) -> dict[str, float | int]:
    """Median, 95th percentile and mean (µm) of the error of a stack over pairs of landmarks, and their number.

    The files hold x,y,z in µm, the same landmarks in the same order. Raises InputError when they do not.
    """
    fixed, moving = read_points(fixed_csv), read_points(moving_csv)
    if len(fixed) != len(moving) or len(fixed) == 0:
        raise InputError(f"{fixed_csv} holds {len(fixed)} points and {moving_csv} {len(moving)}; they must be pairs.")
    errors = np.linalg.norm(stack.map_points(fixed) - moving, axis=1)
    return {
        "median": float(np.median(errors)),
        "p95": float(np.percentile(errors, 95)),
        "mean": float(errors.mean()),
        "n": len(errors),
    }


def read_points(path: Path) -> Floats:
    """The points of a CSV file without a header, as (n, 3), z, y, x; raises InputError when it is none."""
    try:
        points = np.loadtxt(path, delimiter=",", ndmin=2, usecols=(2, 1, 0), dtype=np.float64)
    except OSError as error:
        raise InputError(f"the landmarks {path} cannot be read: {error.strerror or error}.") from error
    except (ValueError, IndexError) as error:
        raise InputError(f"the landmarks {path} must be lines of x,y,z in µm without a header.") from error
    if not np.isfinite(points).all():
        raise InputError(f"the landmarks {path} hold numbers that are not finite.")
    return points
