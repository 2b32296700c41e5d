"""The error of a map whose steps are not known, from pieces of the volumes at the scale that is given.

The overview shows what is off by one of its voxels and more. What is less is measured in pieces: in each part of the
volume a typical one is read at full scale, and aligned anew: on an imitation, and further on.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from teralign.alignment import ImageSource
from teralign.grids import Region, Triple, as_triple
from teralign.registration import Image
from teralign.transforms import Stack
from teralign.trust import (
    ERROR_MARGIN,
    SCATTER,
    ErrorMap,
    error_of_piece,
    floor_of,
    left_to_move,
    piece_edge,
    typical_piece,
)

_PARTS = 2  # an axis: eight pieces, some seconds


def sample_errors(
    fixed: ImageSource, moving: ImageSource, overview: tuple[Image, Image], transform: Stack, *, threads: int
) -> ErrorMap:
    """Return the estimated errors of a map of straight points; reads a piece of both volumes in each part.

    `overview` are the two volumes at a coarse scale. The cubes are those of the overview.
    """
    left = left_to_move(*overview, transform, threads=threads)
    told = np.where(left.values > math.cbrt(math.prod(overview[0].grid.spacing)), left.values, np.float32(0))
    values = np.full(left.grid.shape, np.nan, np.float32)
    for part in Region.whole(left.grid.shape).split(_halved(left.grid.shape)):
        if np.isfinite(left.values[part.slices]).any():
            error = _error_in(fixed, moving, overview[0], left, part, transform, threads)
            values[part.slices] = np.fmax(np.float32(error), told[part.slices])
    floor = floor_of(fixed.grid)
    values[~np.isfinite(left.values)] = np.nan
    return replace(left, values=np.maximum(values, np.float32(floor)), floor=floor, scatter=SCATTER)


def _halved(shape: Triple) -> Triple:
    return as_triple(-(-n // _PARTS) for n in shape)


def _error_in(
    fixed: ImageSource,
    moving: ImageSource,
    overview: Image,
    left: ErrorMap,
    part: Region,
    transform: Stack,
    threads: int,
) -> float:
    """Return the error in a typical piece of a part, in µm; NaN where it shows too little."""
    shown = overview.grid.crop(typical_piece(overview, left.grid.crop(part), edge=piece_edge(fixed.grid)))
    piece = fixed.grid.touching(shown.origin, np.array(shown.origin) + piece_edge(fixed.grid))
    around = piece.grow((ERROR_MARGIN,) * 3).intersect(fixed.grid.region)
    low, high = fixed.grid.to_physical(around.start), fixed.grid.to_physical(np.array(around.stop) - 1)
    here = transform.load(low, high)
    where = moving.grid.covering(*here.bounds(low, high), margin=3).intersect(moving.grid.region)
    if piece.size == 0 or where.size == 0:
        return math.nan
    images = fixed.read(around), moving.read(where)
    return error_of_piece(*images, piece.relative_to(around), here, threads=threads)
