"""Teralign as a library, whole volumes in memory: the default steps of `global-align` and `local-align`."""

from __future__ import annotations

import numpy as np
from common import Job, main, voxel_centres

from teralign.configuration import load_config
from teralign.registration import Image, align
from teralign.transforms import Affine, DisplacementField, Stack, load_transform, save_field
from teralign.volumes import open_volume


def run(job: Job) -> None:
    """From the images' own start, or a given affine, to the affine and the field."""
    fixed, moving = (Image((volume := open_volume(path)).read(), volume.grid) for path in (job.fixed, job.moving))
    config = load_config(None)
    start = Stack() if job.start is None else Stack((Affine(job.start),))
    steps = config.steps("global_align") if job.start is None else []
    steps += [] if job.affine_only else config.steps("local_align")
    with job.aligning():
        found = align(fixed, moving, steps, initial_transform=start, threads=job.threads)
    for transform in (start @ found.transform).simplified().transforms:
        if isinstance(transform, Affine):
            transform.save(job.out / "affine.mat")
        elif isinstance(transform, DisplacementField):
            save_field(job.out / "field.zarr", transform)


def find_map(job: Job) -> np.ndarray:
    """Where x ↦ A (x + u(x)) takes every voxel."""
    grid = open_volume(job.fixed).grid
    files = [job.out / name for name in ("affine.mat", "field.zarr")]
    stack = Stack(tuple(load_transform(path) for path in files if path.exists()))
    points = voxel_centres(grid.shape, np.array(grid.spacing), np.array(grid.origin))
    return stack.map_points(points.reshape(-1, 3)).reshape(points.shape)


if __name__ == "__main__":
    main(run, find_map)
