"""Padding: voxels that hold no data, since fusing, deskewing or cropping filled the rim of a volume with a constant.

A region is padding where all of this holds: the voxels have exactly one value, as all voxels around a corner of the
array or, in a whole volume, of a face do; each sees a face of the array, along an axis, through voxels of that value
only; and the edge of the region is straight. The edges of padding are those of boxes and of skewed boxes, while the
surface of tissue on a background of exactly one value is curved, and is left as it is.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from teralign.grids import Bools

_CORNER = 4  # voxels along an axis: 64 of one value are no chance
_MIXED = 1  # voxels beside the padding that interpolation and means have mixed with it
_STRIDE = 8  # parts of an axis between the places where an edge is compared with a straight line
_STRAIGHT = 0.5  # of these places: of boxes 0.9 and more are straight, of tissue and cells 0.1 and less
_SLAB = 1 << 22  # voxels filled at once
_ROUNDING = 1  # voxels: the edge of a skewed box, cut to whole voxels, leaves a straight line by no more


def find_padding(array: NDArray[Any], *, part: bool = False) -> Bools | None:
    """Return which voxels (z, y, x) of an array are padding; None if none are, or nothing else is left.

    Of a `part` of a volume only the corners count: a face within the volume may have one value by chance.
    """
    found: Bools | None = None
    for value in _rim_values(array, part=part):
        padding = _seen_from_faces(array == value)
        if not padding.all() and _straightness(padding) >= _STRAIGHT:
            found = padding if found is None else found | padding
    if found is None:
        return None
    found = ndimage.binary_dilation(found, np.ones((3, 3, 3), bool), iterations=_MIXED)
    return None if found.all() else found


def _rim_values(array: NDArray[Any], *, part: bool) -> list[Any]:
    """Return the values that fill a corner or, if it is no `part`, a face of an array."""
    corners = itertools.product((slice(None, _CORNER), slice(-_CORNER, None)), repeat=3)
    faces = [(*[slice(None)] * axis, end) for axis in range(3) for end in (slice(None, 1), slice(-1, None))]
    samples = [array[place] for place in (corners if part else (*corners, *faces))]
    return sorted({sample.flat[0] for sample in samples if sample.min() == sample.max()})


def _seen_from_faces(equal: Bools) -> Bools:
    """Return the voxels that a face sees along an axis, through equal voxels only."""
    seen = np.zeros_like(equal)
    for lines, out in _views(equal, seen):
        out |= np.logical_and.accumulate(lines, axis=0)
    return seen


def _views(*arrays: Bools) -> Iterator[list[Bools]]:
    """Yield views of the arrays from each of the six faces, depth first."""
    for axis in range(3):
        views = [np.moveaxis(array, axis, 0) for array in arrays]
        yield views
        yield [view[::-1] for view in views]


def _straightness(padding: Bools) -> float:
    """Return the share of places at which the edge of the padding is straight; 0 without an edge."""
    straight = places = 0
    for (view,) in _views(padding):
        depth = np.where(view.all(axis=0), 0, np.argmin(view, axis=0)).astype(np.int64)
        for axis in range(2):
            stride = max(2, depth.shape[axis] // _STRIDE)
            lines = np.moveaxis(depth, axis, 0)
            before, here, after = lines[: -2 * stride], lines[stride:-stride], lines[2 * stride :]
            edge = (before > 0) & (here > 0) & (after > 0)
            places += int(edge.sum())
            straight += int((edge & (np.abs(before - 2 * here + after) <= _ROUNDING)).sum())
    return straight / places if places else 0.0


def fill(array: NDArray[Any], data: Bools) -> NDArray[Any]:
    """Return the array with all voxels that are not `data` filled from the nearest data along an axis.

    What has no data along z is filled along y, and then along x. So the rim continues the data at its edge, where
    interpolation, gradients and means would else see a step. Without any data the array is returned as it is.
    """
    filled, known = array.copy(), data.copy()
    for axis in range(3):
        across = 1 if axis == 0 else 0
        for part in _slabs(known.shape, across):
            index = _nearest_along(known[part], axis)
            filled[part] = np.take_along_axis(filled[part], np.maximum(index, 0), axis)
            known[part] |= index >= 0
        if known.all():
            break
    return filled


def _slabs(shape: tuple[int, ...], axis: int) -> Iterator[tuple[slice, ...]]:
    """Yield indices that cut an array into slabs across an axis, so that their working arrays stay small."""
    planes = max(1, _SLAB * shape[axis] // math.prod(shape))
    for first in range(0, shape[axis], planes):
        yield tuple(slice(first, first + planes) if a == axis else slice(None) for a in range(len(shape)))


def _nearest_along(known: Bools, axis: int) -> NDArray[np.intp]:
    """Return the index along an axis of the known voxel nearest to each voxel; -1 without any."""
    count = known.shape[axis]
    places = np.arange(count).reshape([-1 if a == axis else 1 for a in range(3)])
    before = np.maximum.accumulate(np.where(known, places, -1), axis)
    after = np.flip(np.minimum.accumulate(np.flip(np.where(known, places, 2 * count), axis), axis), axis)
    nearest = np.where((before < 0) | (after - places < places - before), after, before)
    return np.where(nearest == 2 * count, -1, nearest)
