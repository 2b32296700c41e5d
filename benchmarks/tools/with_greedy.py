"""greedy (picsl-greedy): affine and greedy diffeomorphic, both on correlation in windows of 9³ voxels."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk  # noqa: N813 - its usual name
from common import Job, centre_of_mass, flattened, main, mapped, reverse_axes, voxel_centres
from picsl_greedy import Greedy3D

_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])  # greedy's matrices are for x and y with the other sign


def _read(path: str) -> tuple[sitk.Image, np.ndarray, np.ndarray, np.ndarray]:
    """The image, its array, spacing and origin (zyx)."""
    raw = sitk.ReadImage(path)
    array = flattened(sitk.GetArrayFromImage(raw))
    image = sitk.GetImageFromArray(array)
    image.CopyInformation(raw)
    return image, array, np.array(raw.GetSpacing())[::-1], np.array(raw.GetOrigin())[::-1]


def align(job: Job) -> None:
    """Affine from the centres of mass, then the deformation."""
    (fixed, f, *where_f), (moving, m, *where_m) = _read(str(job.fixed)), _read(str(job.moving))
    greedy, out, threads = Greedy3D(), job.out, f"-d 3 -threads {job.threads}"
    with job.aligning():
        matrix = np.eye(4) if job.start is None else job.start
        if job.start is None:
            matrix[:3, 3] = centre_of_mass(m, *where_m) - centre_of_mass(f, *where_f)
        np.savetxt(out / "start.txt", _RAS @ reverse_axes(matrix) @ _RAS)
        found = "start.txt"
        if job.start is None:
            found = "found.txt"
            greedy.execute(
                f"{threads} -a -dof 12 -i f m -m NCC 4x4x4 -n 100x100x40 -ia {out}/start.txt -o {out}/{found}",
                f=fixed,
                m=moving,
            )
        if not job.affine_only:
            greedy.execute(
                f"{threads} -i f m -m NCC 4x4x4 -n 100x60x20 -s 2.0vox 0.5vox -it {out}/{found} -o warp",
                f=fixed,
                m=moving,
                warp=None,
            )
    np.savetxt(out / "affine.mat", reverse_axes(_RAS @ np.loadtxt(out / found) @ _RAS))
    if not job.affine_only:
        np.save(out / "field.npy", sitk.GetArrayFromImage(greedy["warp"])[..., ::-1])


def find_map(job: Job) -> np.ndarray:
    """Where x ↦ A (x + u(x)) takes every voxel."""
    image = sitk.ReadImage(str(job.fixed))
    points = voxel_centres(
        image.GetSize()[::-1], np.array(image.GetSpacing())[::-1], np.array(image.GetOrigin())[::-1]
    )
    if (job.out / "field.npy").exists():
        points += np.load(job.out / "field.npy")
    return mapped(points, np.loadtxt(job.out / "affine.mat"))


if __name__ == "__main__":
    main(align, find_map)
