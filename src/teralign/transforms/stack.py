"""Transforms one after the other."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from teralign.grids import Floats
from teralign.transforms.affine import Affine
from teralign.transforms.field import DisplacementField
from teralign.transforms.points import map_box, map_points
from teralign.transforms.stored import StoredField

Transform: TypeAlias = Affine | DisplacementField | StoredField
Loaded: TypeAlias = Affine | DisplacementField


@dataclass(frozen=True, eq=False)
class Stack:
    """A list of transforms, outermost first: the last is applied first, and none is the identity.

    [A, u] maps x to A (x + u(x)).
    """

    transforms: tuple[Transform, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "transforms", tuple(self.transforms))

    def then(self, *inner: Transform) -> Stack:
        """The stack with more transforms at its end, which are applied before those it has."""
        return Stack((*self.transforms, *inner))

    @property
    def affine(self) -> Affine | None:
        """The stack as one affine, if it holds no field."""
        whole = Affine.identity()
        for part in self.transforms:
            if not isinstance(part, Affine):
                return None
            whole = whole @ part
        return whole

    def simplified(self) -> Stack:
        """The same map with each run of affines made one."""
        parts: list[Transform] = []
        for part in self.transforms:
            last = parts[-1] if parts else None
            if isinstance(part, Affine) and isinstance(last, Affine):
                parts[-1] = last @ part
            else:
                parts.append(part)
        return Stack(tuple(parts))

    def load(self, low: ArrayLike, high: ArrayLike) -> Stack:
        """The same map for points of a box (µm), with what they need of stored fields in memory."""
        parts: list[Transform] = []
        for part in reversed(self.transforms):
            here = part.load(low, high) if isinstance(part, StoredField) else part
            low, high = here.bounds(low, high)
            parts.insert(0, here)
        return Stack(tuple(parts))

    def loaded(self) -> tuple[Loaded, ...] | None:
        """The transforms, if all of them are in memory."""
        parts = tuple(part for part in self.transforms if not isinstance(part, StoredField))
        return parts if len(parts) == len(self.transforms) else None

    def map_points(self, points: ArrayLike, *, threads: int = 1) -> Floats:
        """Where the points (n, 3) in µm go. Stored fields are read around the points, tile by tile."""
        parts = self.loaded()
        if parts is not None:
            return map_points(parts, points, threads=threads)
        mapped = np.asarray(points, dtype=np.float64)
        for part in reversed(self.transforms):
            mapped = part.map_points(mapped, threads=threads)
        return mapped

    def inverse_map_points(self, points: ArrayLike, *, threads: int = 1) -> tuple[Floats, NDArray[np.bool_]]:
        """The points (n, 3) in µm that go to `points`, and which of them are found.

        A found point goes to its target to about 1e-6 of a node spacing of the field. Where a field folds there may
        be several such points, and one of them is given; the place of a point that is not found means nothing.
        """
        found = np.array(points, dtype=np.float64)
        converged = np.ones(len(found), dtype=bool)
        for part in self.transforms:
            if isinstance(part, Affine):
                found = part.inverse().map_points(found)
                continue
            found, good = part.inverse_map_points(found, threads=threads)
            converged &= good
        return found, converged

    def bounds(self, low: ArrayLike, high: ArrayLike) -> tuple[Floats, Floats]:
        """The low and high corner of a box that holds the image of a box (µm)."""
        return map_box(self.load(low, high).loaded() or (), low, high)

    def digest(self) -> str:
        """A fingerprint: of the numbers of what is in memory, of the identity of what is stored."""
        digest = hashlib.sha256()
        for part in self.transforms:
            digest.update(type(part).__name__.encode())
            if isinstance(part, Affine):
                digest.update(part.matrix.tobytes())
            elif isinstance(part, DisplacementField):
                digest.update(repr((part.grid, part.region)).encode())
                digest.update(part.values.tobytes())
            else:
                digest.update(part.digest().encode())
        return digest.hexdigest()
