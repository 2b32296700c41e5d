"""The displacements and the folds of a stored field of any size, found in one pass."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from teralign.evaluation import VolumeChange, VolumeChangeSummary
from teralign.report.charts import Bins
from teralign.report.maps import VolumeMap, add_pooled, grid_edges
from teralign.transforms import StoredField, jacobian_determinants

_SIDE = 128  # nodes along an edge of the regions read: 25 MB of displacements
_MAP_SIDE = 64  # boxes of a map along an axis, at most
_JACOBIANS = (0.0, 2.0)
_BINS = 50


@dataclass(frozen=True)
class Displacements:
    """Median, 95th percentile and maximum in µm of the lengths of a field's displacements."""

    median: float
    p95: float
    maximum: float


@dataclass(frozen=True)
class FieldSummary:
    """A field over its `nodes`: the lengths of its displacements, and its Jacobian determinants.

    A determinant is the smallest of the cells that meet at a node.
    """

    nodes: int
    displacement_um: Displacements
    jacobian: VolumeChangeSummary


@dataclass(frozen=True)
class MeasuredField:
    """A field's summary, and for the page its maps and the counts of its values in bins."""

    summary: FieldSummary
    maps: tuple[VolumeMap, ...]
    lengths: Bins
    determinants: Bins


def measure_field(field: StoredField, *, threads: int = 1) -> MeasuredField:
    """Measure a stored field, region by region."""
    grid = field.grid
    factors = [math.ceil(n / _MAP_SIDE) for n in grid.shape]
    shape = [-(-n // f) for n, f in zip(grid.shape, factors, strict=True)]
    longest, smallest = (np.full(shape, np.nan, np.float32) for _ in range(2))
    lengths, determinants = VolumeChange(), VolumeChange()
    for core in grid.region.split((_SIDE, _SIDE, _SIDE)):
        region = core.grow((1, 1, 1)).intersect(grid.region)
        part = field.read(region)
        inside = core.relative_to(region).slices
        length = np.sqrt((part.values[inside] ** 2).sum(axis=-1), dtype=np.float32)
        determinant = jacobian_determinants(part, threads=threads)[inside]
        lengths.add(length)
        determinants.add(determinant)
        add_pooled(longest, length, core.start, factors, np.fmax)
        add_pooled(smallest, determinant, core.start, factors, np.fmin)
    found = lengths.percentiles((0.5, 0.95))
    top = max(lengths.max, 1e-3)
    edges = grid_edges(grid, factors)
    return MeasuredField(
        FieldSummary(grid.region.size, Displacements(found[0], found[1], lengths.max), determinants.summary()),
        (
            VolumeMap(
                "displacement",
                "Local displacement",
                "µm",
                "How far the local alignment moves a point beyond the global one: the largest of each box.",
                longest,
                edges,
            ).ranged(low=0.0),
            VolumeMap(
                "jacobian",
                "Volume change (Jacobian)",
                "",
                "1 keeps volume, 2 doubles it, below 0 space folds: the smallest determinant of each box.",
                smallest,
                edges,
                *_JACOBIANS,
                diverging=True,
            ),
        ),
        Bins(0.0, top, lengths.histogram(0.0, top, _BINS)),
        Bins(*_JACOBIANS, determinants.histogram(*_JACOBIANS, _BINS)),
    )
