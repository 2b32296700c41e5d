"""Fields on disk of every kind, with axes in any order and vectors in any unit.

Cubic fields become B-spline coefficients as they are read: on tiles of a fixed lattice, with a margin at which the
ends of a tile no longer show. So a coefficient is the same number whatever region is read.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from teralign import ome
from teralign.errors import DataError
from teralign.grids import Floats, FloatTriple, Grid, Region, as_float_triple, as_triple
from teralign.transforms.affine import Affine
from teralign.transforms.field_kind import FieldKind, Interpolation
from teralign.transforms.interpolated_field import FITTED_NODES, InterpolatedField, first_guess, spline_coefficients
from teralign.transforms.stored import StoredNodes, open_nodes, read_nodes
from teralign.transforms.tiles import inverse_in_tiles, map_in_tiles, nodes_around

_SPLINE_TILE = (64, 64, 64)  # nodes; the lattice on which splines are fitted
_SPLINE_MARGIN = 24  # nodes: an end fades by 2 − √3 a node, so to 2e-14
StoredAxes = tuple[int | None, int | None, int | None]


@dataclass(frozen=True)
class StoredVectors:
    """An array of vectors, and its meaning along z, y, x: `axes` and `components` say which of the array's they are.

    None is an axis on which the vectors do not depend, and a component that they lack, which is 0. Component i in µm
    is the stored one times `factors[i]`, plus `shifts[i]`.
    """

    path: Path
    array: Path
    vector_axis: int
    axes: StoredAxes
    components: StoredAxes
    factors: FloatTriple
    shifts: FloatTriple

    def read(self, region: Region, step: int = 1) -> Floats:
        """Return the vectors (z, y, x, 3) in µm of every `step`-th node of a region.

        Raises DataError when they are missing or cannot be read.
        """
        kept = [axis for axis in range(3) if self.axes[axis] is not None]
        index = tuple(slice(region.start[axis], region.stop[axis], step) for axis in kept)
        stored = np.asarray(read_nodes(self._store, index, self.path, region), dtype=np.float64)
        if not np.isfinite(stored).all():
            raise DataError(f"the field {self.path} has missing nodes in {region.start} to {region.stop} (zyx).")
        missing = tuple(axis for axis in range(3) if self.axes[axis] is None)
        stored = np.expand_dims(stored, missing)
        values = np.zeros((*stored.shape[:3], 3))
        for i, component in enumerate(self.components):
            if component is not None:
                values[..., i] = stored[..., component] * self.factors[i] + self.shifts[i]
        return values

    @functools.cached_property
    def _store(self) -> StoredNodes:
        """The array, with the axes of z, y, x that it has, then that of the vectors."""
        nodes = open_nodes("zarr3", self.array, self.path, Region((0, 0, 0), (0, 0, 0)))
        axes = [*(axis for axis in self.axes if axis is not None), self.vector_axis]
        return nodes._replace(array=nodes.array.transpose(axes))

    def __getstate__(self) -> dict[str, object]:
        """Return the state without the open array, which cannot be sent to another process."""
        return {name: value for name, value in self.__dict__.items() if name != "_store"}


@dataclass(frozen=True)
class StoredInterpolatedField:
    """A field on disk of any kind; its nodes are read when they are needed. Picklable."""

    vectors: StoredVectors
    grid: Grid
    kind: FieldKind

    @property
    def affine(self) -> None:
        """None: a field is no affine."""
        return None

    @property
    def loaded(self) -> None:
        """None: the field is on disk."""
        return None

    def load(self, low: ArrayLike, high: ArrayLike) -> InterpolatedField:
        """Return the field for points of the box from `low` to `high` (µm), reading only the nodes that they need.

        Raises DataError when nodes are missing or cannot be read.
        """
        region = nodes_around(self.grid, low, high)
        cubic = self.kind.interpolation is Interpolation.CUBIC
        values = self._coefficients(region) if cubic else self.vectors.read(region)
        return InterpolatedField(values.astype(np.float32), self.grid, self.kind, region)

    def _coefficients(self, region: Region) -> Floats:
        """Return the coefficients of the splines of a region, fitted tile by tile."""
        values = np.empty((*region.shape, 3))
        whole = self.grid.region
        aligned = Region(
            as_triple(a // n * n for a, n in zip(region.start, _SPLINE_TILE, strict=True)),
            as_triple(-(-b // n) * n for b, n in zip(region.stop, _SPLINE_TILE, strict=True)),
        )
        for tile in aligned.intersect(whole).split(_SPLINE_TILE):
            wide = tile.grow((_SPLINE_MARGIN,) * 3).intersect(whole)
            part = tile.intersect(region)
            fitted = spline_coefficients(self.vectors.read(wide))
            values[part.relative_to(region).slices] = fitted[part.relative_to(wide).slices]
        return values

    def map_points(self, points: ArrayLike, *, threads: int = 1) -> Floats:
        """Return the images (n, 3) of the points (n, 3) in µm; the field is read around them, tile by tile."""
        return map_in_tiles(self, points, threads=threads)

    def inverse_map_points(self, points: ArrayLike, *, threads: int = 1) -> tuple[Floats, NDArray[np.bool_]]:
        """Return the points whose images are `points` (n, 3), and a mask (n,) of those found to 1e-6 of a spacing."""
        return inverse_in_tiles(self, points, self._first_guess.map_points(points), threads=threads)

    @functools.cached_property
    def _first_guess(self) -> Affine:
        """The affine from images to near their points, fitted to few nodes."""
        if not any(self.kind.absolute):
            return Affine.identity()
        step = max(1, -(-max(self.grid.shape) // FITTED_NODES))
        values = self.vectors.read(self.grid.region, step)
        spacing = as_float_triple(step * s for s in self.grid.spacing)
        few = Grid(as_triple(values.shape[:3]), spacing, self.grid.origin)
        return first_guess(self.kind, few, values.astype(np.float32))

    def bounds(self, low: ArrayLike, high: ArrayLike) -> tuple[Floats, Floats]:
        """Return the low and high corner of a box that holds the image of a box (µm)."""
        return self.load(low, high).bounds(low, high)

    def digest(self) -> str:
        """Return a cheap fingerprint of the stored field: its place, its meaning, and the times of its metadata."""
        digest = hashlib.sha256(repr((self.vectors, self.grid, self.kind)).encode())
        for folder in (self.vectors.array, self.vectors.path):
            file = folder / ome.GROUP_FILE
            if file.exists():
                digest.update(file.read_bytes())
                digest.update(str(file.stat().st_mtime_ns).encode())
        return digest.hexdigest()

    def __getstate__(self) -> dict[str, object]:
        """Return the state without what is computed again."""
        return {name: value for name, value in self.__dict__.items() if name != "_first_guess"}
