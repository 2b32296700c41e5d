"""Random grids, maps and images, the same for a seed."""

import numpy as np
from scipy import ndimage

from teralign.grids import Grid, Region
from teralign.transforms import Affine, DisplacementField, Stack


def random_grid(rng, low=4, high=24):
    return Grid(rng.integers(low, high, 3), rng.uniform(0.5, 3, 3), rng.uniform(-20, 20, 3))


def random_affine(rng, spread=0.15, shift=4.0):
    return Affine.from_parts(np.eye(3) + rng.uniform(-spread, spread, (3, 3)), rng.uniform(-shift, shift, 3))


def rough_field(rng, grid, amplitude=3.0):
    return DisplacementField(rng.normal(size=(*grid.shape, 3)) * amplitude, grid)


def smooth_field(rng, grid, amplitude=3.0, sigma=2.0):
    """A field without folds: its displacements change by at most `amplitude` within a few sigma nodes."""
    noise = [ndimage.gaussian_filter(rng.normal(size=grid.shape), sigma, mode="nearest") for _ in range(3)]
    values = np.stack(noise, axis=-1)
    return DisplacementField(amplitude * values / np.abs(values).max(), grid)


def random_stack(rng, about, kinds):
    """Transforms of these kinds ("a"ffine, "f"ield) for points about a grid; fields have grids of their own."""
    parts = []
    for kind in kinds:
        if kind == "a":
            parts.append(random_affine(rng))
            continue
        spacing = np.array(about.spacing) * rng.uniform(1.5, 5, 3)
        nodes = np.maximum(1, np.ceil(np.array(about.extent) / spacing * rng.uniform(0.5, 1.3))).astype(int)
        parts.append(rough_field(rng, Grid(nodes, spacing, about.to_physical(rng.uniform(-3, 3, 3)))))
    return Stack(tuple(parts))


def random_region(rng, grid):
    start = rng.integers(0, grid.shape)
    return Region(tuple(start.tolist()), tuple(rng.integers(start + 1, np.array(grid.shape) + 1).tolist()))


def positions(grid, region=None):
    """The voxel centres (n, 3) of a region."""
    region = region or grid.region
    return grid.to_physical(np.indices(region.shape).reshape(3, -1).T + np.array(region.start))
