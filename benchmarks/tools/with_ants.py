"""ANTs (antspyx): affine and SyN with their defaults (Mattes mutual information)."""

from __future__ import annotations

import shutil

import ants
import numpy as np
from common import Job, flattened, main, mapped, reverse_axes, voxel_centres


def _read(path: str) -> ants.ANTsImage:
    raw = ants.image_read(path)
    return raw.new_image_like(flattened(raw.numpy()))


def align(job: Job) -> None:
    """Affine from the centres of mass, then SyN."""
    fixed, moving = _read(str(job.fixed)), _read(str(job.moving))
    with job.aligning():
        if job.start is None:
            affine = ants.registration(fixed, moving, type_of_transform="Affine", random_seed=1)["fwdtransforms"][0]
        else:
            affine = str(job.out / "start.mat")
            ants.write_transform(_given(job.start), affine)
        if not job.affine_only:
            found = ants.registration(
                fixed, moving, type_of_transform="SyNOnly", initial_transform=affine, random_seed=1
            )["fwdtransforms"]
            shutil.copy(found[0], job.out / "warp.nii.gz")
            affine = found[1]
    np.savetxt(job.out / "affine.mat", _matrix(ants.read_transform(affine)))


def _given(start: np.ndarray) -> ants.ANTsTransform:
    xyz = reverse_axes(start)
    return ants.create_ants_transform("AffineTransform", matrix=xyz[:3, :3], translation=xyz[:3, 3])


def _matrix(transform: ants.ANTsTransform) -> np.ndarray:
    """The zyx matrix of an affine about a centre: x ↦ A (x - c) + c + t."""
    linear, shift = np.reshape(transform.parameters[:9], (3, 3)), transform.parameters[9:]
    centre = np.array(transform.fixed_parameters)
    matrix = np.eye(4)
    matrix[:3, :3] = linear
    matrix[:3, 3] = shift + centre - linear @ centre
    return reverse_axes(matrix)


def find_map(job: Job) -> np.ndarray:
    """Where x ↦ A (x + u(x)) takes every voxel."""
    image = ants.image_read(str(job.fixed))
    points = voxel_centres(image.shape[::-1], np.array(image.spacing)[::-1], np.array(image.origin)[::-1])
    if (job.out / "warp.nii.gz").exists():
        warp = ants.image_read(str(job.out / "warp.nii.gz")).numpy()
        points += warp.transpose(2, 1, 0, 3)[..., ::-1]
    return mapped(points, np.loadtxt(job.out / "affine.mat"))


if __name__ == "__main__":
    main(align, find_map)
