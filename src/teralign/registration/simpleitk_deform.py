"""`deform` with `engine: simpleitk`: a cubic B-spline, as bigstream does it, with its keys.

Outside its mesh a B-spline of ITK's is 0. The mesh here reaches one control point spacing beyond the image and beyond
the nodes of the field, so that no node lies outside, and the field has no cliff at its faces.
"""

from __future__ import annotations

import numpy as np

from teralign.grids import FloatTriple, Grid, as_float_triple, per_axis
from teralign.registration import itk
from teralign.registration.config import DeformConfig
from teralign.registration.image import Image
from teralign.registration.linear import measure_of, warped_image
from teralign.registration.metrics import Windows
from teralign.registration.steps import StepContext, StepResult, accepted_if_better, kept
from teralign.transforms import FIELD_STRIDE, Affine, DisplacementField, Stack
from teralign.transforms.itk_files import SitkTransform

_SPACING = 50.0  # µm from control point to control point, as in bigstream
_SAMPLES = 20_000  # the cost is their number times the number of control points


def simpleitk_deform(fixed: Image, moving: Image, config: DeformConfig, context: StepContext) -> StepResult:
    """Find the B-spline displacement after which the initial transform fits better, on the context's field grid.

    The metric is measured before and after on the same samples, as `linear` does.
    """
    config = _with_defaults(config)
    moving = warped_image(fixed, moving, context)
    nodes = context.field_grid or fixed.grid.nodes((FIELD_STRIDE,) * 3)
    measure = measure_of(config)
    windows = Windows.of(fixed, moving)
    if fault := windows.fault():
        return kept(fault)
    before = windows.score(Affine.identity(), measure)
    transform = _flat(fixed.grid, nodes, (config.control_point_spacing or _SPACING) * config.control_point_levels[0])
    try:
        iterations = _optimise(fixed, moving, transform, config, context)
    except RuntimeError as error:
        return kept(f"the search failed: {itk.plain(error)}", before=before)
    found = DisplacementField(itk.displacements(transform, nodes), nodes)
    after = windows.score(Stack((found,)), measure)
    return accepted_if_better(found, before, after, iterations=iterations, measure=measure)


def _with_defaults(config: DeformConfig) -> DeformConfig:
    """Return the configuration with bigstream's defaults; LNCC is SimpleITK's ANC."""
    metric = "ANC" if config.metric == "LNCC" else config.metric or "MMI"
    spacing = config.control_point_spacing or _SPACING
    return config.model_copy(update={"metric": metric, "control_point_spacing": spacing})


def _flat(image: Grid, nodes: Grid, spacing: float) -> SitkTransform:
    """Return a B-spline that moves nothing, on a mesh that reaches `spacing` µm beyond the image and the nodes."""
    corners = np.concatenate([image.corners(), nodes.corners()])
    low, high = corners.min(axis=0) - spacing, corners.max(axis=0) + spacing
    return itk.flat_bspline(low, high, spacing)


def _optimise(
    fixed: Image, moving: Image, transform: SitkTransform, config: DeformConfig, context: StepContext
) -> int:
    """Improve the B-spline in place, level by level; return the number of iterations of the last level."""
    spacing = _spacing(config, fixed.grid)
    coarsest = max(per_axis(spacing))
    fixed, moving = fixed.downsample_to(spacing), moving.downsample_to(spacing)
    factors = config.shrink_factors or (1,) * len(config.control_point_levels)
    # Shrinking picks every n-th voxel: without a blur of half that width it would alias.
    sigmas = config.smooth_sigmas or tuple(0.5 * coarsest * n if n > 1 else 0.0 for n in factors)
    method = itk.search(config, context, step=coarsest)
    if config.sampling is None:
        method.SetMetricSamplingStrategy(method.RANDOM)
        method.SetMetricSamplingPercentage(min(1.0, _SAMPLES / fixed.array.size), context.seed + 1)
    method.SetShrinkFactorsPerLevel(factors)
    method.SetSmoothingSigmasPerLevel(sigmas)
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    itk.set_masks(method, fixed, fixed.mask, moving)
    coarsest = config.control_point_levels[0]
    refinements = [max(1, coarsest // level) for level in config.control_point_levels]
    refinements += [refinements[-1]] * (len(factors) - len(refinements))
    method.SetInitialTransformAsBSpline(transform, inPlace=True, scaleFactors=refinements)
    method.Execute(itk.to_sitk(fixed.array, fixed), itk.to_sitk(moving.array, moving))
    return int(method.GetOptimizerIteration())


def _spacing(config: DeformConfig, grid: Grid) -> float | FloatTriple:
    """Return the spacing in µm to optimise at (one, or z, y, x), never finer than `grid`."""
    wanted = config.alignment_spacing
    if isinstance(wanted, tuple):
        return as_float_triple(np.maximum(wanted, grid.spacing))
    return max(wanted or 0.0, *grid.spacing)
