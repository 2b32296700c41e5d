"""SimpleITK's side: images, matrices and searches, from our conventions and back.

ITK's axes are (x, y, z), not (z, y, x). Its direction matrices stay the identity, so physical points differ only in
the order of their components: a matrix M of Teralign is P·M·P of ITK's, P the reversal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import SimpleITK as sitk  # noqa: N813 - the name it goes by everywhere
from scipy import ndimage

from teralign.grids import Bools, Floats, FloatTriple, Grid, per_axis, reverse_axes
from teralign.registration.config import DeformConfig, LinearConfig, RigidConfig
from teralign.registration.image import Array, Image, Volume32
from teralign.registration.steps import StepContext
from teralign.transforms import Affine
from teralign.transforms.itk_files import SitkImage, SitkTransform

SearchConfig: TypeAlias = LinearConfig | DeformConfig
Method: TypeAlias = Any

_SAMPLES = 30_000  # a level: 2500 for each parameter of an affine map
_INFORMATIVE = 0.4  # the share of voxels, those with the most structure, that samples come from
_STRUCTURE = 5  # voxels along the edge of the window in which structure is measured

_INTERPOLATORS = {
    "0": sitk.sitkNearestNeighbor,
    "1": sitk.sitkLinear,
    "CBS": sitk.sitkBSpline,
    "G": sitk.sitkGaussian,
    "LG": sitk.sitkLabelGaussian,
    "HWS": sitk.sitkHammingWindowedSinc,
    "CWS": sitk.sitkCosineWindowedSinc,
    "WWS": sitk.sitkWelchWindowedSinc,
    "LWS": sitk.sitkLanczosWindowedSinc,
    "BWS": sitk.sitkBlackmanWindowedSinc,
}
_OPTIMIZERS = {
    "A": "Amoeba",
    "CGLS": "ConjugateGradientLineSearch",
    "E": "Exhaustive",
    "GD": "GradientDescent",
    "GDLS": "GradientDescentLineSearch",
    "LBFGS2": "LBFGS2",
    "LBFGSB": "LBFGSB",
    "OPOE": "OnePlusOneEvolutionary",
    "P": "Powell",
    "RSGD": "RegularStepGradientDescent",
}
_NEEDED_ARGUMENTS: Mapping[str, Mapping[str, Any]] = {
    "A": {"simplexDelta": 1.0, "numberOfIterations": 100},
    "CGLS": {"learningRate": 1.0, "numberOfIterations": 100},
    "E": {"numberOfSteps": [1] * 6, "stepLength": 1.0},
    "GD": {"learningRate": 1.0, "numberOfIterations": 100},
    "GDLS": {"learningRate": 1.0, "numberOfIterations": 100},
    "OPOE": {"numberOfIterations": 100},
}
"""Arguments that SimpleITK's optimizers need and a configuration may leave out; RSGD's follow the voxel size."""


def to_sitk(array: Array, image: Image) -> SitkImage:
    """Return an ITK image of this (z, y, x) array, float32 or a mask, on the grid of `image`."""
    result = sitk.GetImageFromArray(array.astype(np.uint8 if array.dtype == bool else np.float32, copy=False))
    result.SetSpacing(reverse_axes(image.grid.spacing))
    result.SetOrigin(reverse_axes(image.grid.origin))
    return result


def matrix_of(transform: SitkTransform) -> Floats:
    """Return the (4, 4) matrix, (z, y, x) µm, of an ITK affine or Euler transform, whatever its centre."""
    linear = np.array(transform.GetMatrix()).reshape(3, 3)
    centre, shift = np.array(transform.GetCenter()), np.array(transform.GetTranslation())
    matrix = np.eye(4)
    matrix[:3, :3] = linear[::-1, ::-1]
    matrix[:3, 3] = (shift + centre - linear @ centre)[::-1]
    return matrix


def set_matrix(transform: SitkTransform, matrix: Floats, centre: Floats) -> None:
    """Set an ITK affine or Euler transform to the map of a (4, 4) matrix, turning about `centre`, (z, y, x) µm."""
    linear = matrix[:3, :3]
    transform.SetCenter([float(c) for c in centre[::-1]])
    transform.SetMatrix([float(v) for v in linear[::-1, ::-1].ravel()])
    transform.SetTranslation([float(v) for v in (matrix[:3, 3] + linear @ centre - centre)[::-1]])


def affine_of(matrix: Floats) -> SitkTransform:
    """Return the ITK affine transform of a (4, 4) matrix, (z, y, x) µm."""
    transform = sitk.AffineTransform(3)
    set_matrix(transform, matrix, np.zeros(3))
    return transform


def flat_bspline(low: Floats, high: Floats, spacing: float) -> SitkTransform:
    """Return a cubic B-spline that moves nothing, from `low` to `high`, control points at most `spacing` µm apart."""
    transform = sitk.BSplineTransform(3, 3)
    transform.SetTransformDomainOrigin([float(v) for v in low[::-1]])
    transform.SetTransformDomainPhysicalDimensions([float(v) for v in (high - low)[::-1]])
    transform.SetTransformDomainMeshSize([int(n) for n in np.ceil((high - low)[::-1] / spacing)])
    return transform


def displacements(transform: SitkTransform, nodes: Grid) -> Volume32:
    """Return the displacements (z, y, x, 3), (dz, dy, dx) in µm, of an ITK transform at the nodes of a grid."""
    field = sitk.TransformToDisplacementField(
        transform,
        sitk.sitkVectorFloat32,
        reverse_axes(nodes.shape),
        reverse_axes(nodes.origin),
        reverse_axes(nodes.spacing),
    )
    return np.ascontiguousarray(sitk.GetArrayFromImage(field)[..., ::-1])


@dataclass(frozen=True)
class LevelPair:
    """The two images at one resolution, and its spacing in µm: one for all axes, or one an axis (z, y, x)."""

    fixed: Image
    moving: Image
    spacing: float | FloatTriple

    @property
    def step(self) -> float:
        """The unit in µm of a search's steps: the finest spacing."""
        return min(per_axis(self.spacing))


def linear_search(
    levels: Sequence[LevelPair],
    matrix: Floats,
    initial: Affine,
    centre: Floats,
    config: LinearConfig,
    context: StepContext,
) -> tuple[Floats, int]:
    """Improve a (4, 4) map, applied before `initial`, level by level.

    It turns about `centre` (µm). By default, samples are taken at random where the fixed image has structure. Returns
    the map and the number of iterations. Raises RuntimeError when ITK gives up.
    """
    transform = sitk.Euler3DTransform() if isinstance(config, RigidConfig) else sitk.AffineTransform(3)
    set_matrix(transform, matrix, centre)
    iterations = 0
    for level in levels:
        method = search(config, context, step=level.step)
        mask = level.fixed.mask
        if config.sampling is None:
            mask = informative(level.fixed)
            method.SetMetricSamplingStrategy(method.RANDOM)
            method.SetMetricSamplingPercentage(min(1.0, _SAMPLES / max(1, int(mask.sum()))), context.seed + 1)
        set_masks(method, level.fixed, mask, level.moving)
        method.SetMovingInitialTransform(affine_of(initial.matrix))
        method.SetInitialTransform(transform, inPlace=True)
        method.Execute(to_sitk(level.fixed.array, level.fixed), to_sitk(level.moving.array, level.moving))
        iterations += int(method.GetOptimizerIteration())
    return matrix_of(transform), iterations


def informative(image: Image) -> Bools:
    """Return the voxels (z, y, x) of the mask with the most structure (variance in a small window) around them."""
    array = image.array.astype(np.float32, copy=False)
    array = array - array.mean()
    mean = ndimage.uniform_filter(array, _STRUCTURE)
    variance = ndimage.uniform_filter(array**2, _STRUCTURE) - mean**2
    inside = np.ones(array.shape, bool) if image.mask is None else image.mask
    if not inside.any():
        return inside
    limit = np.quantile(variance[inside], 1 - _INFORMATIVE)
    chosen: Bools = inside & (variance >= limit)
    return chosen


def set_masks(method: Method, fixed: Image, mask: Bools | None, moving: Image) -> None:
    """Limit a method to `mask` in the fixed image, and to the mask of the moving image."""
    if mask is not None:
        method.SetMetricFixedMask(to_sitk(mask, fixed))
    if moving.mask is not None:
        method.SetMetricMovingMask(to_sitk(moving.mask, moving))


def plain(error: RuntimeError) -> str:
    """Return the last line of an ITK exception, which says what happened."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].split("): ")[-1] if lines else "SimpleITK gave no reason"


def search(config: SearchConfig, context: StepContext, *, step: float) -> Method:
    """Return a registration method with the metric, sampling, interpolator and optimizer of a configuration.

    `step` is the default length in µm of the first step.
    """
    method = sitk.ImageRegistrationMethod()
    method.SetNumberOfThreads(context.threads)
    method.SetInterpolator(_INTERPOLATORS[config.interpolator])
    _set_metric(method, config)
    if config.sampling is not None:
        method.SetMetricSamplingStrategy(getattr(method, config.sampling))
        if config.sampling_percentage is not None and config.sampling != "NONE":
            method.SetMetricSamplingPercentage(config.sampling_percentage, context.seed + 1)
    _set_optimizer(method, config, step, context.seed)
    return method


def _set_metric(method: Method, config: SearchConfig) -> None:
    values = config.metric_args
    bins = {key: int(values[key]) for key in ("numberOfHistogramBins",) if key in values}
    if config.metric == "ANC":
        method.SetMetricAsANTSNeighborhoodCorrelation(int(values.get("radius", 4)))
    elif config.metric == "C":
        method.SetMetricAsCorrelation()
    elif config.metric == "D":
        method.SetMetricAsDemons(**values)
    elif config.metric == "JHMI":
        method.SetMetricAsJointHistogramMutualInformation(**{**values, **bins})
    elif config.metric == "MMI":
        method.SetMetricAsMattesMutualInformation(**({"numberOfHistogramBins": 32} | bins))
    else:
        method.SetMetricAsMeanSquares()


def _set_optimizer(method: Method, config: SearchConfig, step: float, seed: int) -> None:
    values = dict(_NEEDED_ARGUMENTS.get(config.optimizer, {}))
    if config.optimizer == "RSGD":
        values = {"learningRate": step, "minStep": 0.01 * step, "numberOfIterations": 200, "relaxationFactor": 0.6}
    if config.optimizer == "OPOE":
        values["seed"] = seed + 1
    values |= config.optimizer_args
    if isinstance(values.get("estimateLearningRate"), str):
        values["estimateLearningRate"] = getattr(method, values["estimateLearningRate"])
    getattr(method, f"SetOptimizerAs{_OPTIMIZERS[config.optimizer]}")(**values)
    if config.exhaustive_step_sizes is not None:
        method.SetOptimizerScales(config.exhaustive_step_sizes)
    else:
        method.SetOptimizerScalesFromPhysicalShift()
