"""elastix (itk-elastix): its default parameter maps for an affine, and a B-spline with a knot every 60 µm."""

from __future__ import annotations

import itk
import numpy as np
from common import Job, flattened, main, reverse_axes, voxel_centres

_KNOTS = 60.0  # µm


def _read(path: str) -> itk.Image:
    raw = itk.imread(path, itk.F)
    image = itk.image_from_array(flattened(itk.array_from_image(raw)))
    image.CopyInformation(raw)
    return image


def align(job: Job) -> None:
    """Both maps in one call of elastix, or the B-spline alone after a given affine."""
    fixed, moving = _read(str(job.fixed)), _read(str(job.moving))
    steps = itk.ParameterObject.New()
    if job.start is None:
        affine = steps.GetDefaultParameterMap("affine", 4)
        affine["AutomaticTransformInitialization"] = ["true"]
        affine["AutomaticTransformInitializationMethod"] = ["CenterOfGravity"]
        steps.AddParameterMap(affine)
    if not job.affine_only:
        steps.AddParameterMap(steps.GetDefaultParameterMap("bspline", 3, _KNOTS))
    method = itk.ElastixRegistrationMethod.New(fixed, moving)
    method.SetParameterObject(steps)
    method.SetNumberOfThreads(job.threads)
    method.SetLogToConsole(False)
    if job.start is not None:
        start = itk.ParameterObject.New()
        start.AddParameterMap(_given(job.start, fixed))
        method.SetInitialTransformParameterObject(start)
    with job.aligning():
        method.UpdateLargestPossibleRegion()
    found = method.GetTransformParameterObject()
    names = [str(job.out / f"transform.{index}.txt") for index in range(found.GetNumberOfParameterMaps())]
    found.WriteParameterFiles(found.GetParameterMaps(), names)


def _given(start: np.ndarray, image: itk.Image) -> dict[str, list[str]]:
    """A given affine in elastix's words."""
    xyz = reverse_axes(start)
    return {
        "Transform": ["AffineTransform"],
        "NumberOfParameters": ["12"],
        "TransformParameters": [repr(float(v)) for v in (*xyz[:3, :3].ravel(), *xyz[:3, 3])],
        "CenterOfRotationPoint": ["0", "0", "0"],
        "InitialTransformParameterFileName": ["NoInitialTransform"],
        "HowToCombineTransforms": ["Compose"],
        "FixedImageDimension": ["3"],
        "MovingImageDimension": ["3"],
        "FixedInternalImagePixelType": ["float"],
        "MovingInternalImagePixelType": ["float"],
        "Size": [str(n) for n in itk.size(image)],
        "Index": ["0", "0", "0"],
        "Spacing": [repr(float(v)) for v in image.GetSpacing()],
        "Origin": [repr(float(v)) for v in image.GetOrigin()],
        "Direction": [str(float(v)) for v in np.eye(3).ravel()],
        "UseDirectionCosines": ["true"],
    }


def find_map(job: Job) -> np.ndarray:
    """What transformix says that every voxel's displacement is."""
    fixed, moving = _read(str(job.fixed)), _read(str(job.moving))
    found = itk.ParameterObject.New()
    for path in sorted(job.out.glob("transform.*.txt")):
        found.AddParameterFile(str(path))
    field = itk.array_from_image(itk.transformix_deformation_field(moving, found, output_directory=str(job.out)))
    spacing, origin = (np.array(list(values))[::-1] for values in (fixed.GetSpacing(), fixed.GetOrigin()))
    return voxel_centres(field.shape[:3], spacing, origin) + field[..., ::-1]


if __name__ == "__main__":
    main(align, find_map)
