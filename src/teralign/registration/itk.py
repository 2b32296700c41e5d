"""SimpleITK's side: images, matrices and searches, from our conventions and back.

ITK's axes are (x, y, z), ours (z, y, x). Its direction matrices stay the identity, so physical points differ only in
the order of their components: a matrix M of ours is P·M·P of ITK's, P the reversal.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import SimpleITK as sitk

from teralign.grids import Floats, Grid, reverse_axes
from teralign.registration.config import AffineConfig, DeformConfig, RigidConfig
from teralign.registration.image import Array, Image, Volume32

SearchConfig: TypeAlias = RigidConfig | AffineConfig | DeformConfig
SitkImage: TypeAlias = Any
SitkTransform: TypeAlias = Any
Method: TypeAlias = Any

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
"""What SimpleITK's optimizers cannot do without and a configuration may leave out; RSGD's follow the voxel size."""


def to_sitk(array: Array, image: Image) -> SitkImage:
    """An ITK image of this (z, y, x) array, float32 or a mask, where the voxels of `image` lie."""
    result = sitk.GetImageFromArray(array.astype(np.uint8 if array.dtype == bool else np.float32, copy=False))
    result.SetSpacing(reverse_axes(image.grid.spacing))
    result.SetOrigin(reverse_axes(image.grid.origin))
    return result


def linear_transform(*, rigid: bool) -> SitkTransform:
    """A new ITK transform, the identity: rotation and shift, or any affine map."""
    return sitk.Euler3DTransform() if rigid else sitk.AffineTransform(3)


def matrix_of(transform: SitkTransform) -> Floats:
    """The (4, 4) matrix, (z, y, x) µm, of an ITK affine or Euler transform, whatever its centre."""
    linear = np.array(transform.GetMatrix()).reshape(3, 3)
    centre, shift = np.array(transform.GetCenter()), np.array(transform.GetTranslation())
    matrix = np.eye(4)
    matrix[:3, :3] = linear[::-1, ::-1]
    matrix[:3, 3] = (shift + centre - linear @ centre)[::-1]
    return matrix


def set_matrix(transform: SitkTransform, matrix: Floats, centre: Floats) -> None:
    """Make an ITK affine or Euler transform the map of a (4, 4) matrix, turning about `centre`, (z, y, x) µm."""
    linear = matrix[:3, :3]
    transform.SetCenter([float(c) for c in centre[::-1]])
    transform.SetMatrix([float(v) for v in linear[::-1, ::-1].ravel()])
    transform.SetTranslation([float(v) for v in (matrix[:3, 3] + linear @ centre - centre)[::-1]])


def affine_of(matrix: Floats) -> SitkTransform:
    """An ITK affine transform of a (4, 4) matrix, (z, y, x) µm."""
    transform = linear_transform(rigid=False)
    set_matrix(transform, matrix, np.zeros(3))
    return transform


def flat_bspline(low: Floats, high: Floats, spacing: float) -> SitkTransform:
    """A cubic B-spline that moves nothing, from `low` to `high`, control points at most `spacing` µm apart."""
    transform = sitk.BSplineTransform(3, 3)
    transform.SetTransformDomainOrigin([float(v) for v in low[::-1]])
    transform.SetTransformDomainPhysicalDimensions([float(v) for v in (high - low)[::-1]])
    transform.SetTransformDomainMeshSize([int(n) for n in np.ceil((high - low)[::-1] / spacing)])
    return transform


def displacements(transform: SitkTransform, nodes: Grid) -> Volume32:
    """The displacements (z, y, x, 3), (dz, dy, dx) in µm, of an ITK transform at the nodes of a grid."""
    field = sitk.TransformToDisplacementField(
        transform,
        sitk.sitkVectorFloat32,
        reverse_axes(nodes.shape),
        reverse_axes(nodes.origin),
        reverse_axes(nodes.spacing),
    )
    return np.ascontiguousarray(sitk.GetArrayFromImage(field)[..., ::-1])


def search(config: SearchConfig, *, step: float, seed: int, threads: int) -> Method:
    """A registration method with the metric, sampling, interpolator and optimizer of a configuration.

    `step` is the length in µm of the first step where the configuration gives none.
    """
    method = sitk.ImageRegistrationMethod()
    method.SetNumberOfThreads(threads)
    method.SetInterpolator(_INTERPOLATORS[config.interpolator])
    _set_metric(method, config)
    if config.sampling is not None:
        method.SetMetricSamplingStrategy(getattr(method, config.sampling))
        if config.sampling_percentage is not None and config.sampling != "NONE":
            method.SetMetricSamplingPercentage(config.sampling_percentage, seed + 1)
    _set_optimizer(method, config, step, seed)
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
        values = {"learningRate": step, "minStep": 0.003 * step, "numberOfIterations": 200, "relaxationFactor": 0.7}
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
