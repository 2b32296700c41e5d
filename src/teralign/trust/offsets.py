"""Offsets of the structures of blocks from the place that the whole map says."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from teralign.grids import Floats, Grid
from teralign.transforms import Affine, Stack
from teralign.trust.confirmation import Examined

_QUARTERS = np.stack(np.meshgrid(*[[0.25, 0.5, 0.75]] * 3, indexing="ij"), axis=-1).reshape(-1, 3)


def offsets_of(blocks: Sequence[Examined], transform: Stack, smooth: Stack, grid: Grid) -> Floats:
    """Return how far (n, 3) the structures of blocks lie from the place of the whole map, z, y, x in µm.

    Structures of the fixed image at x agree with those that the smoothed map S shows at x + d, so that the true map
    has S(x + d) at x. The whole map T has T(x), and the difference is brought back to the fixed image.
    """
    if not blocks:
        return np.zeros((0, 3))
    low = np.array([b.region.start for b in blocks], np.float64)
    size = np.array([b.region.shape for b in blocks], np.float64)
    at = np.stack([(low + size * share - 0.5) for share in _QUARTERS], axis=1)
    points = grid.to_physical(at)
    moved = np.array([b.offset for b in blocks]) * np.array(grid.spacing)
    flat = points.reshape(-1, 3)
    wanted = smooth.map_points((points + moved[:, None]).reshape(-1, 3))
    affine = smooth.transforms[0].affine or Affine.identity()
    back = np.linalg.inv(affine.matrix[:3, :3])
    apart = np.einsum("ni,ji->nj", wanted - transform.map_points(flat), back).reshape(points.shape)
    # The middle of several points: the fine detail of the map varies within a block.
    middle: Floats = np.median(apart, axis=1)
    return middle
