"""Recognition of label images: integers that are constant within objects, which interpolation would mix.

A label image differs from an image of light in its neighbours: two voxels side by side that are both above 0 are
mostly equal (within an object), and where they differ, they differ by any number. In images of light noise makes most
neighbours differ; in smooth or compressed images of few gray values neighbours are often equal, but differ by 1.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from teralign.grids import Region, as_triple
from teralign.report.values import spread_chunks
from teralign.volumes import Volume

_CHUNKS_TRIED, _CHUNKS_USED = 64, 8
_SIDE = 64  # voxels of a chunk that are read along each axis, at most
_MIN_PAIRS = 1000  # of neighbours, to tell anything
_MIN_EQUAL = 0.5  # share of equal neighbours: 0.75 in a brain atlas of 100 µm, at most 0.09 in images of tissue
_MIN_STEPS = 0.5  # share of other neighbours that differ by more than 1
_FEW, _MIN_EQUAL_OF_FEW = 16, 0.75  # so few values, as of tissue classes, may all differ by 1


def looks_like_labels(volume: Volume, *, channel: int = 0, timepoint: int = 0) -> bool:
    """Return whether a sample of the voxels looks like labels; False for floats and where too little is above 0.

    Raises DataError when a chunk cannot be read.
    """
    if volume.dtype.kind not in "iu":
        return False
    pairs = [_neighbours(array) for array in _sample(volume, channel, timepoint)]
    if not pairs:
        return False
    a, b = np.concatenate(pairs, axis=1)
    equal = a == b
    if a.size < _MIN_PAIRS or equal.mean() < _MIN_EQUAL:
        return False
    if equal.mean() >= _MIN_EQUAL_OF_FEW and len(np.unique(a)) <= _FEW:
        return True
    steps = np.abs(a[~equal] - b[~equal]) > 1
    return steps.size == 0 or bool(steps.mean() >= _MIN_STEPS)


def _sample(volume: Volume, channel: int, timepoint: int) -> Iterator[NDArray[np.generic]]:
    """Yield the middles of some chunks that are not blank, spread evenly over the volume."""
    chunks, used = spread_chunks(volume, _CHUNKS_TRIED), 0
    for i in sorted(range(len(chunks)), key=lambda i: i * 0.6180339887 % 1):  # the golden ratio spreads any prefix
        region = _middle(chunks[i])
        if volume.is_blank(region, channel=channel, timepoint=timepoint):
            continue
        array = volume.read(region, channel=channel, timepoint=timepoint)
        if array.any():
            yield array
            used += 1
        if used == _CHUNKS_USED:
            return


def _middle(region: Region) -> Region:
    cut = [max(0, n - _SIDE) // 2 for n in region.shape]
    start = as_triple(a + c for a, c in zip(region.start, cut, strict=True))
    return Region(start, as_triple(min(a + _SIDE, b) for a, b in zip(start, region.stop, strict=True)))


def _neighbours(array: NDArray[np.generic]) -> NDArray[np.float64]:
    """Return the pairs (2, n) of voxels side by side along x that are both above 0."""
    a, b = array[:, :, :-1].astype(np.float64), array[:, :, 1:].astype(np.float64)
    both = (a > 0) & (b > 0)
    return np.stack([a[both], b[both]])
