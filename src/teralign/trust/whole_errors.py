"""The error that an alignment of whole images leaves.

Where a deformation was found, its error is estimated as that of a block is. Where only an affine was, a deformation
from there is looked for, in images of at most a million voxels: what it moves is what the affine has left.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from teralign.registration import DeformConfig, Image, StepConfig
from teralign.registration.config import is_gauss_newton
from teralign.registration.image import spacing_for
from teralign.transforms import Stack
from teralign.trust.error_map import SCATTER, ErrorMap
from teralign.trust.remaining_error import (
    cubes_over,
    displacements_in_cubes,
    estimate_errors,
    floor_of,
)

_VOXELS = 1_000_000  # of the overview: a second, and displacements to some tenths of its voxels


def estimate_whole(
    fixed: Image,
    moving: Image,
    transform: Stack,
    *,
    steps: Sequence[StepConfig],
    threads: int = 1,
) -> ErrorMap:
    """Return the estimated errors of a `transform` from fixed to moving points, which `steps` have found."""
    if transform.affine is not None:
        return left_to_move(fixed, moving, transform, threads=threads)
    cubes = cubes_over(fixed.grid)
    errors = estimate_errors(
        fixed,
        moving,
        transform=transform,
        config=deform_of(steps),
        cubes=cubes,
        region=cubes.region,
        threads=threads,
    )
    return ErrorMap(errors, cubes, floor_of(fixed.grid), SCATTER)


def left_to_move(fixed: Image, moving: Image, transform: Stack, *, threads: int = 1) -> ErrorMap:
    """Return how far a deformation of at most a million voxels would still move the cubes, after `transform`.

    That is the error of any map, whose steps need not be known, as far as it shows at this scale.
    """
    spacing = max(spacing_for(image.grid, _VOXELS) for image in (fixed, moving))
    fixed, moving = fixed.downsample_to(spacing), moving.downsample_to(spacing)
    cubes, floor = cubes_over(fixed.grid), floor_of(fixed.grid)
    errors = displacements_in_cubes(fixed, moving, transform, cubes, threads=threads)
    return ErrorMap(np.maximum(errors, np.float32(floor)), cubes, floor)


def deform_of(steps: Sequence[StepConfig]) -> DeformConfig:
    """Return the parameters of the last deformation of the engine gauss_newton, by default its defaults."""
    return next((step for step in reversed(steps) if is_gauss_newton(step)), DeformConfig())
