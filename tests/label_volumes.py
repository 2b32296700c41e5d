"""Label volumes for tests: blobs of random places and sizes, written as files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from teralign.grids import FloatTriple, Grid, Triple
from teralign.volumes import Volume, create_volume, open_volume


def blobs(seed: int, shape: Triple, labels: int) -> NDArray[np.uint16]:
    """Balls of random radii; later ones cover earlier ones, and some lie at the faces of the volume."""
    random = np.random.default_rng(seed)
    found = np.zeros(shape, np.uint16)
    at = np.moveaxis(np.indices(shape), 0, -1)
    for label in range(1, labels + 1):
        centre = random.uniform(0, shape)
        found[np.linalg.norm(at - centre, axis=-1) < random.uniform(1.5, max(2.0, min(shape) / 3))] = 3 * label
    return found


def write(path: Path, array: NDArray[np.generic], spacing: FloatTriple = (1.0, 1.0, 1.0)) -> Volume:
    """Write an array (z, y, x) as OME-Zarr, and open it."""
    grid = Grid(array.shape, spacing)
    writer = create_volume(path, grid=grid, dtype=array.dtype, levels=1)
    for region in grid.region.split(writer.write_shape):
        writer.write(region, np.ascontiguousarray(array[region.slices]))
    return open_volume(path)
