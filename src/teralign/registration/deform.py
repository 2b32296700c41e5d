"""The step `deform` with `engine: gauss_newton`: a smooth displacement field from the deformable engine."""

from __future__ import annotations

import functools
import math

import numpy as np

from teralign.grids import Grid
from teralign.registration.config import DeformConfig
from teralign.registration.deform_engine import find_deformation
from teralign.registration.image import Image
from teralign.registration.steps import Detail, StepContext, StepResult, kept
from teralign.transforms import DisplacementField, Stack, warp

_RIM = 0.08  # of the fixed image's size, around it, within which a point may leave it and still find the moving one


def deform(fixed: Image, moving: Image, config: DeformConfig, context: StepContext) -> StepResult:
    """Find the displacement field after which the initial transform fits better, on the context's field grid.

    Values of `config` that are None follow from the voxels. Nothing here is random.
    """
    initial_transform, threads = context.initial_transform, context.threads
    if config.alignment_spacing is not None:
        fixed, moving = fixed.downsample_to(config.alignment_spacing), moving.downsample_to(config.alignment_spacing)
    affine = initial_transform.affine
    if affine is None:
        moving, matrix = _straightened(fixed, moving, initial_transform, threads), np.eye(4)
    else:
        matrix = affine.matrix
    result = find_deformation(fixed, moving, config, initial=matrix, field_grid=context.field_grid, threads=threads)
    details: dict[str, Detail] = {}
    if math.isfinite(result.voxel_error):
        details["voxel_error_um"] = result.voxel_error
    if result.reason:
        return kept(result.reason, before=result.metric_before, after=result.metric_after, **details)
    return StepResult(
        DisplacementField(result.field, result.grid),
        result.metric_before,
        result.metric_after,
        details={"min_jacobian": result.min_jacobian, "iterations": sum(result.iterations), **details},
    )


def deform_further(
    fixed: Image,
    moving: Image,
    start: Stack,
    config: DeformConfig,
    nodes: Grid,
    *,
    even_if_worse: bool = False,
    threads: int,
) -> DisplacementField | None:
    """Return what the engine finds from `start` on, on `nodes`; None where the images have nothing to compare.

    Without a better field it is zero, unless it is wanted `even_if_worse`.
    """
    seen, find = _straightened(fixed, moving, start, threads), functools.partial(find_deformation, initial=np.eye(4))
    found = find(fixed, seen, config, field_grid=nodes, even_if_worse=even_if_worse, threads=threads)
    return None if math.isnan(found.voxel_error) else DisplacementField(found.field, nodes)


def _straightened(fixed: Image, moving: Image, transform: Stack, threads: int) -> Image:
    """Return the moving image through a transform with fields, on the fixed grid and a rim around it."""
    grid = fixed.grid
    return seen_on(grid.crop(grid.region.grow(_rim(grid))), moving, transform, threads=threads)


def seen_on(grid: Grid, moving: Image, transform: Stack, *, threads: int) -> Image:
    """Return what the moving image shows on a grid of fixed points through `transform`, masked where it does not."""
    mask = np.ones(moving.array.shape, np.uint8) if moving.mask is None else moving.mask.astype(np.uint8)
    through = functools.partial(warp, grid=grid, region=grid.region, transform=transform, threads=threads)
    # Cubic: a second linear interpolation would blur what the engine has to tell apart.
    array = through(moving.array.astype(np.float32, copy=False), moving.grid, interpolation="cubic")
    return Image(array, grid, through(mask, moving.grid, interpolation="nearest") > 0)


def _rim(grid: Grid) -> list[int]:
    """Return the voxels (z, y, x) of the rim around an image."""
    return [math.ceil(_RIM * n) for n in grid.shape]
