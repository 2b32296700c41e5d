"""Lists of transforms, composed as matrices are.

[A, u] maps x to A (x + u(x)): the last is applied first, and an empty list moves nothing. `start @ found` applies
`found`, then `start`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from teralign.grids import Floats, Grid
from teralign.transforms.affine import Affine
from teralign.transforms.points import map_box, map_points
from teralign.transforms.transform import LoadedTransform, Transform


@dataclass(frozen=True, eq=False)
class Stack:
    """A list of transforms, outermost first: the last is applied first."""

    transforms: tuple[Transform, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "transforms", tuple(self.transforms))

    def __matmul__(self, inner: Transform | Stack) -> Stack:
        """Return the map that applies `inner`, then this one."""
        return Stack((*self.transforms, *(inner.transforms if isinstance(inner, Stack) else (inner,))))

    @property
    def affine(self) -> Affine | None:
        """The stack as one affine; None if it holds a field."""
        whole = Affine.identity()
        for part in self.transforms:
            if part.affine is None:
                return None
            whole = whole @ part.affine
        return whole

    @property
    def grids(self) -> tuple[Grid, ...]:
        """The grids of the fields, outermost first."""
        return tuple(part.grid for part in self.transforms if part.grid is not None)

    def simplified(self) -> Stack:
        """Return the same map with each run of affines multiplied into one."""
        parts: list[Transform] = []
        for part in self.transforms:
            last = parts[-1].affine if parts else None
            if part.affine is not None and last is not None:
                parts[-1] = last @ part.affine
            else:
                parts.append(part)
        return Stack(tuple(parts))

    def load(self, low: ArrayLike, high: ArrayLike) -> Stack:
        """Return the same map for points of the box from `low` to `high` (µm), in memory."""
        parts: list[Transform] = []
        for part in reversed(self.transforms):
            here = part.load(low, high)
            low, high = here.bounds(low, high)
            parts.insert(0, here)
        return Stack(tuple(parts))

    def loaded(self) -> tuple[LoadedTransform, ...] | None:
        """Return the transforms if all of them are in memory, else None."""
        parts = tuple(part.loaded for part in self.transforms if part.loaded is not None)
        return parts if len(parts) == len(self.transforms) else None

    def map_points(self, points: ArrayLike, *, threads: int = 1) -> Floats:
        """Return the images (n, 3) of the points (n, 3) in µm. Stored fields are read around them, tile by tile."""
        parts = self.loaded()
        if parts is not None:
            return map_points(parts, points, threads=threads)
        mapped = np.asarray(points, dtype=np.float64)
        for part in reversed(self.transforms):
            mapped = part.map_points(mapped, threads=threads)
        return mapped

    def inverse_map_points(self, points: ArrayLike, *, threads: int = 1) -> tuple[Floats, NDArray[np.bool_]]:
        """Return the points (n, 3) in µm whose images are `points`, and a mask (n,) of those that were found.

        The image of a found point is its target to about 1e-6 of a node spacing of the field. Where a field folds,
        one of several such points is returned. The position of a point that was not found is meaningless.
        """
        found = np.array(points, dtype=np.float64)
        converged = np.ones(len(found), dtype=bool)
        for part in self.transforms:
            found, good = part.inverse_map_points(found, threads=threads)
            converged &= good
        return found, converged

    def bounds(self, low: ArrayLike, high: ArrayLike) -> tuple[Floats, Floats]:
        """Return the low and high corner of a box that holds the image of a box (µm)."""
        return map_box(self.load(low, high).loaded() or (), low, high)

    def digest(self) -> str:
        """Return a fingerprint of the transforms and their order."""
        digest = hashlib.sha256()
        for part in self.transforms:
            digest.update(f"{type(part).__name__} {part.digest()}\n".encode())
        return digest.hexdigest()
