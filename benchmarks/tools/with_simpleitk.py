"""SimpleITK as one would use it: Mattes mutual information, an affine, then a B-spline with a knot every 60 µm."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk  # noqa: N813 - its usual name
from common import Job, flattened, main, mapped, reverse_axes, voxel_centres

_KNOTS = 60.0  # µm


def _read(path: str) -> sitk.Image:
    raw = sitk.ReadImage(path)
    image = sitk.GetImageFromArray(flattened(sitk.GetArrayFromImage(raw)))
    image.CopyInformation(raw)
    return image


def align(job: Job) -> None:
    """Affine from the moments, then the B-spline."""
    fixed, moving = _read(str(job.fixed)), _read(str(job.moving))
    with job.aligning():
        affine = _find_affine(fixed, moving) if job.start is None else _given(job.start)
        spline = None if job.affine_only else _find_spline(fixed, moving, affine)
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(affine.GetMatrix(), (3, 3))
    matrix[:3, 3] = np.array(affine.TransformPoint((0.0, 0.0, 0.0)))
    np.savetxt(job.out / "affine.mat", reverse_axes(matrix))
    if spline is not None:
        sitk.WriteTransform(spline, str(job.out / "spline.tfm"))


def _given(start: np.ndarray) -> sitk.AffineTransform:
    xyz = reverse_axes(start)
    return sitk.AffineTransform(xyz[:3, :3].ravel().tolist(), xyz[:3, 3].tolist())


def _find_affine(fixed: sitk.Image, moving: sitk.Image) -> sitk.AffineTransform:
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(32)
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentagePerLevel([1.0, 0.2, 0.05], seed=1)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(2.0, 1e-3, 150, 0.6)
    method.SetOptimizerScalesFromPhysicalShift()
    _levels(method, [8, 4, 2])
    moments = sitk.CenteredTransformInitializerFilter.MOMENTS
    affine = sitk.AffineTransform(sitk.CenteredTransformInitializer(fixed, moving, sitk.AffineTransform(3), moments))
    method.SetInitialTransform(affine, inPlace=True)
    method.Execute(fixed, moving)
    return affine


def _find_spline(fixed: sitk.Image, moving: sitk.Image, affine: sitk.AffineTransform) -> sitk.BSplineTransform:
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(32)
    method.SetMetricSamplingStrategy(method.REGULAR)
    method.SetMetricSamplingPercentagePerLevel([1.0, 0.25], seed=1)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsLBFGSB(1e-5, 40, 5, 500, 1e7)
    _levels(method, [4, 2])
    mesh = [max(1, round(n * d / _KNOTS)) for n, d in zip(fixed.GetSize(), fixed.GetSpacing(), strict=True)]
    spline = sitk.BSplineTransformInitializer(fixed, mesh, 3)
    method.SetMovingInitialTransform(affine)
    method.SetInitialTransformAsBSpline(spline, inPlace=True, scaleFactors=[1, 1])
    method.Execute(fixed, moving)
    return spline


def _levels(method: sitk.ImageRegistrationMethod, shrink: list[int]) -> None:
    method.SetShrinkFactorsPerLevel(shrink)
    method.SetSmoothingSigmasPerLevel([float(s) for s in shrink])
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()


def find_map(job: Job) -> np.ndarray:
    """Where x ↦ A (b(x)) takes every voxel."""
    fixed = sitk.ReadImage(str(job.fixed))
    points = voxel_centres(
        fixed.GetSize()[::-1], np.array(fixed.GetSpacing())[::-1], np.array(fixed.GetOrigin())[::-1]
    )
    if (job.out / "spline.tfm").exists():
        sampler = sitk.TransformToDisplacementFieldFilter()
        sampler.SetReferenceImage(fixed)
        points += sitk.GetArrayFromImage(sampler.Execute(sitk.ReadTransform(str(job.out / "spline.tfm"))))[..., ::-1]
    return mapped(points, np.loadtxt(job.out / "affine.mat"))


if __name__ == "__main__":
    main(align, find_map)
