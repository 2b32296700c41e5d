"""Matches between the blobs of two images, by their surroundings.

A blob's context is the compressed brightness at the points of a lattice inside a ball around it, in µm, so that
images of different voxel size compare; made zero-mean and of unit length, two contexts' inner product is their
correlation. A match is a pair of blobs that are each other's best, well ahead of the next best.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from teralign.grids import Floats
from teralign.registration.blobs import Blobs
from teralign.registration.image import Image, Volume32, compress_brightness
from teralign.transforms import Affine

_SIDE = 9  # lattice points across a context: 257 in the ball
_CHUNK = 512  # blobs whose candidates are compared at once: 3 MB of scores against 1500 blobs


@dataclass(frozen=True)
class Contexts:
    """An image, coarse and compressed, and the offsets (K, 3) µm of the points of a context."""

    image: Image
    offsets: Floats

    @classmethod
    def of(cls, image: Image, radius: float | Floats, thickness: Floats) -> Contexts:
        """Return contexts that reach `radius` µm (one, or z, y, x) around a blob.

        Along each axis they reach no further than half the `thickness` (z, y, x) µm: in a thin stack most of the ball
        around a blob would lie outside.
        """
        half = (_SIDE - 1) // 2
        steps = np.stack(np.meshgrid(*[np.arange(-half, half + 1)] * 3, indexing="ij"), -1).reshape(-1, 3)
        steps = steps[(steps**2).sum(axis=1) <= half**2]
        offsets = steps * (np.broadcast_to(radius, 3) / half)
        offsets = offsets[(np.abs(offsets) <= thickness / 2).all(axis=1)]
        coarse = image.downsample_to(float(np.min(radius)) / half)
        return cls(Image(compress_brightness(coarse.array), coarse.grid, coarse.mask), offsets)

    def around(self, points: Floats, initial: Affine, rotation: Floats) -> Volume32:
        """Return the contexts (N, K) of points (N, 3) µm through `initial`, turned by a (3, 3) rotation.

        Places outside the image count as average; a context that is mostly outside, or flat, is all zeros.
        """
        where = points[:, None] + self.offsets @ rotation.T
        values, inside = self.image.sample(initial.map_points(where.reshape(-1, 3)).reshape(where.shape))
        count = inside.sum(axis=1, keepdims=True)
        mean = (values * inside).sum(axis=1, keepdims=True) / np.maximum(count, 1)
        values = (values - mean) * inside
        length = np.sqrt((values**2).sum(axis=1, keepdims=True))
        good = (count > 0.5 * inside.shape[1]) & (length > 1e-6)
        result: Volume32 = np.where(good, values / np.where(good, length, 1), 0).astype(np.float32)
        return result


def match(
    fixed: Volume32,
    moving: Volume32,
    fixed_blobs: Blobs,
    moving_blobs: Blobs,
    *,
    threshold: float,
    ratio: float,
    distance: float | None = None,
) -> NDArray[np.intp]:
    """Return pairs (N, 2) of indices: blobs whose contexts correlate best with each other, by at least `threshold`.

    The distance of two contexts is √(2 − 2r) for a correlation r; that of a match is below `ratio` times that of
    the fixed blob's next best. With `distance` (µm), only blobs that close are compared.
    """
    n, m = len(fixed), len(moving)
    if min(n, m) == 0:
        return np.empty((0, 2), np.intp)
    best, first, second = np.full(n, -1), np.full(n, -1.0), np.full(n, -1.0)
    back, back_score = np.full(m, -1), np.full(m, -1.0)
    tree = cKDTree(moving_blobs.points) if distance is not None else None
    for rows in np.array_split(_nearby_order(fixed_blobs.points), -(-n // _CHUNK)):
        columns = np.arange(m)
        if tree is not None:
            neighbours = tree.query_ball_point(fixed_blobs.points[rows], distance)
            columns = np.unique(np.concatenate([np.asarray(i, dtype=np.intp) for i in neighbours]))
            if not len(columns):
                continue
        scores = fixed[rows] @ moving[columns].T
        if distance is not None:
            gap = fixed_blobs.points[rows][:, None] - moving_blobs.points[columns]
            scores[(gap**2).sum(axis=2) > distance**2] = -1
        _update_forward(scores, rows, columns, best, first, second)
        top = scores.argmax(axis=0)
        value = scores[top, np.arange(len(columns))]
        better = value > back_score[columns]
        back[columns[better]], back_score[columns[better]] = rows[top[better]], value[better]
    mutual = (best >= 0) & (back[np.maximum(best, 0)] == np.arange(n)) & (first >= threshold)
    clear = np.sqrt(np.maximum(2 - 2 * first, 0)) < ratio * np.sqrt(np.maximum(2 - 2 * second, 0))
    chosen = np.flatnonzero(mutual & clear)
    return np.stack([chosen, best[chosen]], axis=1)


def _update_forward(
    scores: Volume32,
    rows: NDArray[np.intp],
    columns: NDArray[np.intp],
    best: NDArray[np.intp],
    first: Floats,
    second: Floats,
) -> None:
    top = scores.argmax(axis=1)
    line = np.arange(len(rows))
    best[rows], first[rows] = columns[top], scores[line, top]
    scores_without = scores.copy()
    scores_without[line, top] = -1
    second[rows] = scores_without.max(axis=1)


def _nearby_order(points: Floats) -> NDArray[np.intp]:
    """Return an order in which successive blobs lie near each other, for compact chunks."""
    tree = cKDTree(points, leafsize=_CHUNK // 8, balanced_tree=True)
    order: NDArray[np.intp] = np.asarray(tree.indices, dtype=np.intp)
    return order
