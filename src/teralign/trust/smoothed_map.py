"""A map without its fine detail: what is left cannot have been fitted to the structures of single blocks.

A deformation can pull any two images together, block by block, until they correlate. What it cannot invent is the
place: seen through the smoothed map, structures of a wrong registration lie where they lie by chance.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from teralign.grids import Floats, FloatTriple, Grid
from teralign.transforms import Affine, DisplacementField, Stack, as_field, node_positions

MAP_SMOOTHING = 16.0
"""Voxels of the overview: detail of a map below this is left out, since a wrong map can invent it."""
_NODES_A_SIGMA = 4  # nodes within a standard deviation: finer ones change the result by less than a tenth of a voxel


def smooth_map(transform: Stack, grid: Grid, sigma: FloatTriple, *, threads: int = 1) -> Stack:
    """Return `transform` on `grid`, its departure from an affine blurred by a Gaussian of `sigma` (z, y, x) µm.

    The affine is fitted to the map at the nodes of a coarse grid, so that blurring at the faces does not bend it.
    """
    if transform.affine is not None:
        return Stack((transform.affine,))
    nodes = grid.nodes([max(1, int(s / d / _NODES_A_SIGMA)) for s, d in zip(sigma, grid.spacing, strict=True)])
    field = as_field(transform, nodes, threads=threads)
    points = node_positions(nodes)
    affine = fit_affine(points, points + field.values.reshape(-1, 3))
    # x ↦ A (x + v(x)): v is what the affine leaves, brought back through it.
    inverse = affine.inverse()
    rest = (inverse.map_points(points + field.values.reshape(-1, 3)) - points).reshape(field.values.shape)
    sigmas = [s / d for s, d in zip(sigma, nodes.spacing, strict=True)]
    blurred = np.stack([ndimage.gaussian_filter(rest[..., a], sigmas, mode="nearest") for a in range(3)], axis=-1)
    return Stack((affine, DisplacementField(blurred.astype(np.float32), nodes)))


def fit_affine(points: Floats, images: Floats) -> Affine:
    """Return the affine nearest to a map from `points` (n, 3) to `images` (n, 3), by least squares.

    Sums are taken without BLAS, whose results depend on its number of threads. Where the points lie in a plane or
    on a line, the least change of the linear part is taken.
    """
    middle = points.mean(axis=0)
    rows = points - middle
    moved = images - points
    shift = moved.mean(axis=0)
    products = np.einsum("ni,nj->ij", rows, rows)
    loads = np.einsum("ni,nj->ij", rows, moved - shift)
    change = np.linalg.pinv(products, rcond=1e-9, hermitian=True) @ loads
    linear = np.eye(3) + change.T
    return Affine.from_parts(linear, middle + shift - linear @ middle)
