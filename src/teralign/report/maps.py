"""Maps of a quantity over the fixed volume: values on a lattice of boxes, as the page draws them.

A map travels as one grey PNG (a tile a layer along z), where 0 is "unknown" and 1 to 255 span `low` to `high`, or
count the categories. The edges of the boxes along each axis are in µm, so that boxes may differ in size.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from teralign.grids import Floats, FloatTriple, Grid
from teralign.report.slices import png, tiled

Edges: TypeAlias = tuple[Floats, Floats, Floats]
T = TypeVar("T")

_MAX_CELLS = 300_000  # 0.3 MB a map at most
_MAX_COLUMNS = 16
_TOLERANCE = 1e-3  # µm: starts of boxes that are closer than this are one edge


@dataclass(frozen=True)
class VolumeMap:
    """A map of the quantity `title`, in `unit`: `values` (z, y, x), NaN where unknown, between `edges` in µm.

    Colours span `low` to `high`; a `diverging` map has a neutral colour in the middle. With `categories` the values
    are their numbers, from the best to the worst. `note` is a sentence that explains the quantity.
    """

    key: str
    title: str
    unit: str
    note: str
    values: NDArray[np.float32]
    edges: Edges
    low: float = 0.0
    high: float = 1.0
    diverging: bool = False
    categories: tuple[str, ...] = ()

    @property
    def known(self) -> bool:
        """True if any value is known."""
        return bool(np.isfinite(self.values).any())

    def ranged(self, low: float | None = None, high: float | None = None) -> VolumeMap:
        """Return the map with colours that span the given limits, and otherwise nearly all values."""
        finite = self.values[np.isfinite(self.values)]
        first, last = np.percentile(finite, [1, 99]) if finite.size else (0.0, 1.0)
        start = float(first) if low is None else low
        stop = float(last) if high is None else high
        return replace(self, low=start, high=max(stop, start + 1e-6))

    def page_data(self) -> dict[str, object]:
        """Return the map as the page reads it."""
        small = self._reduced()
        steps = len(self.categories) or 255
        if self.categories:
            levels = small.values + 1
        else:
            levels = 1 + np.clip((small.values - self.low) / (self.high - self.low), 0, 1) * (steps - 1)
        tiles = np.where(np.isfinite(small.values), np.rint(np.nan_to_num(levels)), 0).astype(np.uint8)
        columns = max(1, min(_MAX_COLUMNS, math.ceil(math.sqrt(len(tiles)))))
        return {
            "key": self.key,
            "title": self.title,
            "unit": self.unit,
            "note": self.note,
            "low": self.low,
            "high": self.high,
            "diverging": self.diverging,
            "categories": self.categories,
            "edges": [[round(float(v), 3) for v in axis] for axis in small.edges],
            "columns": columns,
            "sprite": png(tiled(list(tiles), columns)),
        }

    def _reduced(self) -> VolumeMap:
        """Return the map with so few boxes that it fits in a page: means of neighbours, of categories the worst."""
        small = self
        while small.values.size > _MAX_CELLS:
            factors = [2 if n > 1 else 1 for n in small.values.shape]
            values = np.full(
                [-(-n // f) for n, f in zip(small.values.shape, factors, strict=True)], np.nan, np.float32
            )
            add_pooled(values, small.values, (0, 0, 0), factors, np.fmax)
            edges = tuple(np.append(e[:-1:f], e[-1]) for e, f in zip(small.edges, factors, strict=True))
            small = replace(small, values=values, edges=(edges[0], edges[1], edges[2]))
        return small


def grid_edges(grid: Grid, size: Sequence[int] = (1, 1, 1)) -> Edges:
    """Return the edges in µm of boxes of `size` (z, y, x) voxels; the last boxes may end beyond the grid."""
    z, y, x = (
        np.asarray(o + (np.arange(-(-n // k) + 1) * k - 0.5) * s, np.float64)
        for o, s, n, k in zip(grid.origin, grid.spacing, grid.shape, size, strict=True)
    )
    return z, y, x


def box_map(
    boxes: Iterable[T],
    start: Callable[[T], FloatTriple],
    size: Callable[[T], FloatTriple],
    value: Callable[[T], float | None],
) -> tuple[NDArray[np.float32], Edges] | None:
    """Return values (z, y, x) and edges of boxes that lie on one lattice, or None if there are none."""
    known = list(boxes)
    if not known:
        return None
    low = np.array([start(box) for box in known], np.float64)
    high = low + np.array([size(box) for box in known], np.float64)
    axes = [_lattice(low[:, axis], high[:, axis]) for axis in range(3)]
    values = np.full([len(edges) - 1 for edges in axes], np.nan, np.float32)
    places = [np.searchsorted(edges, low[:, axis] + _TOLERANCE) - 1 for axis, edges in enumerate(axes)]
    values[tuple(places)] = [np.nan if (v := value(box)) is None else v for box in known]
    return values, (axes[0], axes[1], axes[2])


def _lattice(starts: Floats, stops: Floats) -> Floats:
    """Return the edges along an axis: all starts, and the last stop."""
    unique: Floats = np.unique(np.append(starts, stops.max()))
    apart: Floats = unique[np.append(True, np.diff(unique) > _TOLERANCE)]
    return apart


def add_pooled(
    target: NDArray[np.float32],
    values: NDArray[np.float32],
    start: Sequence[int],
    factors: Sequence[int],
    pool: np.ufunc,
) -> None:
    """Combine `values` (z, y, x), which begin at voxel `start` of a grid, into boxes of `factors` voxels of it.

    `pool` is a ufunc of two values, such as `numpy.fmin`; unknown values of `target` are NaN.
    """
    pooled = values
    slices = []
    for axis, (first, factor) in enumerate(zip(start, factors, strict=True)):
        places = (np.arange(values.shape[axis]) + first) // factor
        pooled = pool.reduceat(pooled, np.flatnonzero(np.diff(places, prepend=-1)), axis=axis)
        slices.append(slice(int(places[0]), int(places[-1]) + 1))
    target[tuple(slices)] = pool(target[tuple(slices)], pooled)
