"""Voxel grids in physical space.

Conventions, here and everywhere else:

- Axis order is (z, y, x). Lengths are micrometres (µm).
- The origin is the physical position of the *centre* of voxel (0, 0, 0); voxel i covers i ± ½.
- physical = origin + index · spacing, axis by axis; there are no direction cosines.

Command lines and N5 metadata are (x, y, z): only `reverse_axes` converts between the two orders.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, SupportsFloat, SupportsInt, TypeAlias, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats: TypeAlias = NDArray[np.float64]
Bools: TypeAlias = NDArray[np.bool_]
Triple: TypeAlias = tuple[int, int, int]
FloatTriple: TypeAlias = tuple[float, float, float]
Range: TypeAlias = tuple[int | None, int | None]
"""The first voxel and the one after the last; None is the volume's own."""
Box: TypeAlias = tuple[FloatTriple, FloatTriple]
"""The low and the high corner (z, y, x) of a box of points, in µm."""
T = TypeVar("T")


def reverse_axes(values: Sequence[T]) -> tuple[T, ...]:
    """Return (z, y, x) for (x, y, z), and vice versa."""
    return tuple(reversed(values))


def product(a: Iterable[int], b: Iterable[int]) -> Triple:
    """Return the products of two triples, axis by axis."""
    return as_triple(p * q for p, q in zip(a, b, strict=True))


@dataclass(frozen=True, order=True)
class Region:
    """A box of voxels of a grid, from `start` up to but excluding `stop`, both (z, y, x)."""

    start: Triple
    stop: Triple

    @classmethod
    def whole(cls, shape: Sequence[int]) -> Region:
        """Return the region of all voxels of an array of this (z, y, x) shape."""
        z, y, x = (int(n) for n in shape)
        return cls((0, 0, 0), (z, y, x))

    @property
    def shape(self) -> Triple:
        """The number of voxels along (z, y, x); 0 where the region is empty."""
        z, y, x = (max(0, b - a) for a, b in zip(self.start, self.stop, strict=True))
        return z, y, x

    @property
    def size(self) -> int:
        """The number of voxels."""
        return math.prod(self.shape)

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """The index of this region in an array."""
        z, y, x = (slice(a, max(a, b)) for a, b in zip(self.start, self.stop, strict=True))
        return z, y, x

    def grow(self, margin: Sequence[int]) -> Region:
        """Return the region extended by `margin` (z, y, x) voxels on either side; a negative margin shrinks it."""
        return Region(
            as_triple(a - m for a, m in zip(self.start, margin, strict=True)),
            as_triple(b + m for b, m in zip(self.stop, margin, strict=True)),
        )

    def intersect(self, other: Region) -> Region:
        """Return the region that both regions share; it has size 0 if they share no voxel."""
        start = as_triple(max(a, b) for a, b in zip(self.start, other.start, strict=True))
        stop = as_triple(min(a, b) for a, b in zip(self.stop, other.stop, strict=True))
        return Region(start, as_triple(max(a, b) for a, b in zip(start, stop, strict=True)))

    def shift(self, offset: Sequence[int]) -> Region:
        """Return the region moved by `offset` (z, y, x) voxels."""
        return Region(
            as_triple(a + o for a, o in zip(self.start, offset, strict=True)),
            as_triple(b + o for b, o in zip(self.stop, offset, strict=True)),
        )

    def relative_to(self, other: Region) -> Region:
        """Return the same voxels, counted from the start of `other`."""
        return self.shift([-a for a in other.start])

    def split(self, shape: Sequence[int]) -> Iterator[Region]:
        """Yield regions of at most `shape` (z, y, x), cut along the lattice of that shape that starts at voxel 0."""
        cuts = (_cut(a, b, n) for a, b, n in zip(self.start, self.stop, shape, strict=True))
        for (z, z_end), (y, y_end), (x, x_end) in itertools.product(*cuts):
            yield Region((z, y, x), (z_end, y_end, x_end))


def _cut(start: int, stop: int, size: int) -> list[tuple[int, int]]:
    """Return the intervals of the lattice of `size` from 0, cut to `start` and `stop`."""
    cells = range(start // size, -(-stop // size)) if stop > start else ()
    return [(max(start, i * size), min(stop, (i + 1) * size)) for i in cells]


@dataclass(frozen=True)
class Grid:
    """The voxel positions of a (z, y, x) array: `shape` voxels of `spacing` µm, the first centred at `origin` µm."""

    shape: Triple
    spacing: FloatTriple
    origin: FloatTriple = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", as_triple(self.shape))
        object.__setattr__(self, "spacing", as_float_triple(self.spacing))
        object.__setattr__(self, "origin", as_float_triple(self.origin))
        if min(self.shape) < 1:
            raise ValueError(f"a grid needs at least one voxel along each axis, not {self.shape}")
        if not all(s > 0 and math.isfinite(s) for s in self.spacing):
            raise ValueError(f"voxel spacing must be positive and finite, not {self.spacing}")

    @property
    def region(self) -> Region:
        """The region of all voxels of the grid."""
        return Region.whole(self.shape)

    @property
    def extent(self) -> FloatTriple:
        """The physical size (z, y, x) in µm, from outer face to outer face."""
        return as_float_triple(n * s for n, s in zip(self.shape, self.spacing, strict=True))

    @property
    def centre(self) -> Floats:
        """The physical position (z, y, x) of the middle of the grid, in µm."""
        return self.to_physical((np.array(self.shape) - 1) / 2)

    def to_physical(self, index: ArrayLike) -> Floats:
        """Return the positions in µm of voxel indices (…, 3), which may be fractional."""
        points: Floats = np.asarray(self.origin) + np.asarray(index, dtype=np.float64) * np.asarray(self.spacing)
        return points

    def to_index(self, points: ArrayLike) -> Floats:
        """Return the fractional voxel indices of positions (…, 3) in µm."""
        index: Floats = (np.asarray(points, dtype=np.float64) - np.asarray(self.origin)) / np.asarray(self.spacing)
        return index

    def crop(self, region: Region) -> Grid:
        """Return the grid of `region`, its voxels at the same positions; `region` may reach outside this grid."""
        origin = self.to_physical(region.start)
        return Grid(region.shape, self.spacing, as_float_triple(origin))

    def nodes(self, strides: Sequence[int]) -> Grid:
        """Return the grid of every stride-th voxel centre, from voxel 0 to the first at or beyond the last voxel."""
        return Grid(
            as_triple(-(-(n - 1) // s) + 1 for n, s in zip(self.shape, strides, strict=True)),
            as_float_triple(d * s for d, s in zip(self.spacing, strides, strict=True)),
            self.origin,
        )

    def downsample(self, factors: Sequence[int]) -> Grid:
        """Return the grid of means over `factors` (z, y, x) voxels: the origin moves by (factor − 1)/2 voxels.

        An incomplete last group is dropped, but an axis keeps at least one voxel.
        """
        factors = as_triple(min(f, n) for f, n in zip(factors, self.shape, strict=True))
        return Grid(
            as_triple(n // f for n, f in zip(self.shape, factors, strict=True)),
            as_float_triple(d * f for d, f in zip(self.spacing, factors, strict=True)),
            as_float_triple(self.to_physical([(f - 1) / 2 for f in factors])),
        )

    def factors_to(self, spacing: float | FloatTriple) -> Triple:
        """Return the whole factors (z, y, x), at least 1, that bring the voxels closest to `spacing` µm.

        `spacing` is one value for all axes, or one an axis (z, y, x).
        """
        axes = zip(per_axis(spacing), self.spacing, self.shape, strict=True)
        return as_triple(max(1, min(n, round(wanted / d))) for wanted, d, n in axes)

    def covering(self, low: ArrayLike, high: ArrayLike, margin: int = 0) -> Region:
        """Return the region whose voxel centres enclose the box from `low` to `high` (µm), and `margin` more.

        The result is not cut to the grid: intersect it with `region` before reading.
        """
        a = np.floor(self.to_index(low) + 1e-9).astype(int) - margin
        b = np.ceil(self.to_index(high) - 1e-9).astype(int) + 1 + margin
        return Region(as_triple(a), as_triple(b))

    def touching(self, low: ArrayLike, high: ArrayLike) -> Region:
        """Return the region of the voxels that the box from `low` to `high` (µm) touches, cut to the grid.

        Its size is 0 if the box lies outside the grid.
        """
        sliver = 1e-6  # of a voxel: a box that ends at the face of a voxel does not touch the next one
        a = np.floor(self.to_index(low) + 0.5 + sliver).astype(int)
        b = np.ceil(self.to_index(high) + 0.5 - sliver).astype(int)
        return Region(as_triple(a), as_triple(b)).intersect(self.region)

    def divide(self, factor: float) -> Grid:
        """Return the grid with its spacing and origin divided by `factor`."""
        spacing, origin = ([value / factor for value in values] for values in (self.spacing, self.origin))
        return Grid(self.shape, as_float_triple(spacing), as_float_triple(origin))

    def corners(self) -> Floats:
        """Return the eight outermost voxel centres, (8, 3) µm."""
        ends = [(0, n - 1) for n in self.shape]
        return self.to_physical(list(itertools.product(*ends)))


def per_axis(value: float | FloatTriple) -> FloatTriple:
    """Return one value an axis, (z, y, x), of one value for all axes or of three."""
    return value if isinstance(value, tuple) else (value, value, value)


def as_triple(values: Iterable[SupportsInt]) -> Triple:
    """Return three whole numbers, such as (z, y, x), as a tuple of int."""
    z, y, x = (int(v) for v in values)
    return z, y, x


def as_float_triple(values: Iterable[SupportsFloat]) -> FloatTriple:
    """Return three numbers, such as (z, y, x), as a tuple of float."""
    z, y, x = (float(v) for v in values)
    return z, y, x


def group_means(
    array: NDArray[Any], factors: Sequence[int], *, dtype: type[np.floating[Any]] = np.float32
) -> NDArray[Any]:
    """Return the means over groups of `factors` (z, y, x) voxels, on the grid that `Grid.downsample` gives.

    Sums and means are of `dtype`. An incomplete last group is dropped.
    """
    means = array
    for axis, f in enumerate(factors):
        n = means.shape[axis] // f
        parts = [means[(slice(None),) * axis + (slice(i, n * f, f),)] for i in range(f)]
        means = parts[0].astype(dtype)
        for part in parts[1:]:
            means += part
    means /= dtype(math.prod(factors))
    return means
