"""bigstream, whole volumes in memory: ransac, affine and deform as in its tutorial and its configuration.

Blocks with overlap, as it is run on large data, would see each voxel several times and cost as much more.
"""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk  # noqa: N813 - its usual name
from bigstream.align import alignment_pipeline
from common import Job, main, mapped, voxel_centres

_RANSAC = {"blob_sizes": [6, 20]}
_AFFINE = {
    "shrink_factors": (2,),
    "smooth_sigmas": (2.5,),
    "optimizer_args": {"learningRate": 0.25, "minStep": 0.0, "numberOfIterations": 400},
}
_DEFORM = {
    "control_point_spacing": 50.0,
    "control_point_levels": (1,),
    "smooth_sigmas": (0.25,),
    "optimizer_args": {"learningRate": 2.5, "minStep": 0.0, "numberOfIterations": 25},
}


def _read(path: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The voxels, and spacing and origin (zyx)."""
    image = sitk.ReadImage(path)
    return sitk.GetArrayFromImage(image), np.array(image.GetSpacing())[::-1], np.array(image.GetOrigin())[::-1]


def align(job: Job) -> None:
    """Its three steps, in coordinates that begin at the images' first voxels, as it takes them."""
    (fixed, *where), (moving, *there) = _read(str(job.fixed)), _read(str(job.moving))
    images = (fixed, moving, where[0], there[0])
    to_fixed, to_moving = _shift(where[1]), _shift(there[1])
    with job.aligning():
        if job.start is None:
            matrix = alignment_pipeline(*images, [("ransac", _RANSAC), ("affine", _AFFINE)])
        else:
            matrix = np.linalg.inv(to_moving) @ job.start @ to_fixed
        field = None
        if not job.affine_only:
            field = alignment_pipeline(*images, [("deform", _DEFORM)], static_transform_list=[matrix])
    np.savetxt(job.out / "affine.mat", to_moving @ matrix @ np.linalg.inv(to_fixed))
    if field is not None:
        np.save(job.out / "field.npy", field)


def _shift(by: np.ndarray) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, 3] = by
    return matrix


def find_map(job: Job) -> np.ndarray:
    """Where x ↦ A (x + u(x)) takes every voxel."""
    image, spacing, origin = _read(str(job.fixed))
    points = voxel_centres(image.shape, spacing, origin)
    if (job.out / "field.npy").exists():
        points += np.load(job.out / "field.npy")
    return mapped(points, np.loadtxt(job.out / "affine.mat"))


if __name__ == "__main__":
    main(align, find_map)
