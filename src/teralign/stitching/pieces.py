"""Shifts of pieces of an overlap, which tell how a tile is turned or stretched against its neighbour."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from teralign.grids import Floats, FloatTriple, Region, Triple, as_float_triple, as_triple
from teralign.stitching.correlate import overlap_at
from teralign.stitching.filters import band_pass, downsample
from teralign.stitching.kernels import BLOCK_SUMS, block_sums
from teralign.stitching.measure import MeasuredShift, measure_shift

_LEAST_SIDE = 24  # voxels of a piece: smaller ones show too little
_LEAST_PLANES = 12
_REACH = 2.0  # voxels by which a piece may be off the whole overlap
_TILT = 0.01  # of the longest side of the overlap, more: half a degree and half a per cent at its ends
_BLOCK = 6  # voxels: of the sums that weigh places


@dataclass(frozen=True)
class MeasuredPiece:
    """The place `at` (z, y, x) of a piece in the fixed crop, its shift as the whole's, and its error; voxels."""

    at: FloatTriple
    shift: FloatTriple
    error: FloatTriple


def measure_pieces(
    fixed: NDArray[np.generic],
    moving: NDArray[np.generic],
    offset: FloatTriple,
    search: Triple,
    whole: MeasuredShift,
    count: int,
    *,
    same_view: bool = False,
) -> tuple[MeasuredPiece, ...]:
    """Measure the shifts of up to `count` pieces along each axis of the overlap of two crops (z, y, x).

    `offset` and `search` are as in `measure_shift`, and `whole` is what that found; pieces are searched near it.
    Pieces without evidence are left out. The place of a piece is that of its structure, not its middle: what is
    measured is the mean of its shifts, weighed by the gradients.
    """
    lag = np.add(offset, whole.shift)
    near = as_triple(np.rint(lag))
    overlap, _ = overlap_at(fixed.shape, moving.shape, near)
    if not overlap.size:
        return ()
    reach = math.ceil(_REACH + _TILT * max(overlap.shape))
    window = as_triple(min(reach, s) for s in search)
    found = []
    for piece in _cut(overlap, count):
        seen = piece.shift([-n for n in near]).grow(window).intersect(Region.whole(moving.shape))
        a, b = fixed[piece.slices], np.ascontiguousarray(moving[seen.slices])
        start = lag + seen.start - piece.start
        part = measure_shift(np.ascontiguousarray(a), b, as_float_triple(start), window, same_view=same_view)
        if not part.evidence:
            continue
        place = _place(a, b, as_triple(np.rint(start + part.shift)))
        shift = np.add(whole.shift, part.shift)
        found.append(MeasuredPiece(as_float_triple(place + piece.start), as_float_triple(shift), part.error))
    return tuple(found)


def _cut(overlap: Region, count: int) -> list[Region]:
    """Return the pieces of an overlap, of nearly equal sides."""
    edges = []
    for start, n, least in zip(overlap.start, overlap.shape, (_LEAST_PLANES, _LEAST_SIDE, _LEAST_SIDE), strict=True):
        parts = max(1, min(count, n // least))
        edges.append([start + n * k // parts for k in range(parts + 1)])
    sides = [list(itertools.pairwise(edge)) for edge in edges]
    return [Region((z[0], y[0], x[0]), (z[1], y[1], x[1])) for z in sides[0] for y in sides[1] for x in sides[2]]


def _place(fixed: NDArray[np.generic], moving: NDArray[np.generic], lag: Triple) -> Floats:
    """Return the mean place (3,) in the fixed piece of the gradients that both images share."""
    a, b = overlap_at(fixed.shape, moving.shape, lag)
    sigmas = (0.8, 1.0, 1.0), (2.4, 3.0, 3.0)
    bands = [band_pass(downsample(i[r.slices], (1, 1, 1)), *sigmas) for i, r in ((fixed, a), (moving, b))]
    block = as_triple(max(1, min(_BLOCK, n)) for n in a.shape)
    counts = [-(-n // size) for n, size in zip(a.shape, block, strict=True)]
    sums = np.zeros((*counts, BLOCK_SUMS))
    block_sums(bands[0], bands[1], 1.0, block, sums)
    weight: Floats = np.maximum(sums[..., 6:9].sum(axis=-1), 0)
    middles = [
        np.minimum((np.arange(n) + 0.5) * size, m) - 0.5 for n, size, m in zip(counts, block, a.shape, strict=True)
    ]
    if weight.sum() <= 0:
        return np.array([(n - 1) / 2 for n in a.shape]) + a.start
    other = [tuple(k for k in range(3) if k != axis) for axis in range(3)]
    mean = [float(weight.sum(axis=o) @ m) / float(weight.sum()) for o, m in zip(other, middles, strict=True)]
    return np.array(mean) + a.start
