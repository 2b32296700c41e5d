"""The step `deform`: a smooth displacement field from the deformable engine."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

import numpy as np

from teralign.grids import Grid
from teralign.registration.config import GREEDY_METRICS, DeformConfig
from teralign.registration.deform_engine import DeformParameters, deform_arrays
from teralign.registration.image import Image
from teralign.registration.steps import StepResult, kept
from teralign.transforms import DisplacementField, Stack, warp

_RIM = 0.08  # of the fixed image's size, around it, within which a point may leave it and still find the moving one


def deform(
    fixed: Image,
    moving: Image,
    config: DeformConfig,
    *,
    start: Stack,
    field_grid: Grid | None = None,
    seed: int = 0,
    threads: int = 1,
) -> StepResult:
    """The displacement field after which `start` fits better, on `field_grid`'s nodes.

    Values of `config` that are None follow from the voxels. Nothing here is random: `seed` is not used.
    """
    if config.alignment_spacing is not None:
        fixed, moving = fixed.coarsen_to(config.alignment_spacing), moving.coarsen_to(config.alignment_spacing)
    affine = start.affine
    if affine is None:
        moving, matrix = _straightened(fixed, moving, start, threads), np.eye(4)
    else:
        matrix = affine.matrix
    result = deform_arrays(
        fixed.array,
        moving.array,
        fixed_grid=fixed.grid,
        moving_grid=moving.grid,
        start=matrix,
        fixed_mask=fixed.mask,
        moving_mask=moving.mask,
        field_grid=field_grid,
        parameters=_parameters(config),
        threads=threads,
    )
    if result.reason:
        return kept(result.reason, before=result.metric_before, after=result.metric_after)
    return StepResult(
        DisplacementField(result.field, result.grid),
        result.metric_before,
        result.metric_after,
        details={"min_jacobian": result.min_jacobian, "iterations": sum(result.iterations)},
    )


def _straightened(fixed: Image, moving: Image, start: Stack, threads: int) -> Image:
    """The moving image through a start with fields, on the fixed grid and a rim around it."""
    margin = [math.ceil(_RIM * n) for n in fixed.grid.shape]
    grid = fixed.grid.crop(fixed.grid.region.grow(margin))
    mask = np.ones(moving.array.shape, np.uint8) if moving.mask is None else moving.mask.astype(np.uint8)
    through = functools.partial(warp, grid=grid, region=grid.region, transform=start, threads=threads)
    # Cubic: a second linear interpolation would blur what the engine has to tell apart.
    array = through(moving.array.astype(np.float32, copy=False), moving.grid, interpolation="cubic")
    return Image(array, grid, through(mask, moving.grid, interpolation="nearest") > 0)


def _parameters(config: DeformConfig) -> DeformParameters:
    """The engine's parameters: what the configuration sets, and its own choice for the rest."""
    names = (field.name for field in dataclasses.fields(DeformParameters))
    given: dict[str, Any] = {name: getattr(config, name) for name in names if getattr(config, name) is not None}
    given["metric"] = GREEDY_METRICS[config.metric or "LNCC"]
    factors = given.get("shrink_factors")
    if factors is not None and "iterations" not in given:
        given["iterations"] = tuple(10 if factor > 1 else 5 for factor in factors)
    return DeformParameters(**given)
