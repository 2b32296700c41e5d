"""Display windows of channels from their voxels, so that viewers show an image and not its noise or nothing.

A window is from the 0.1 to the 99.9 percentile of a coarse level, over all timepoints. Its limits are those of the
type of integers, and the range of the sampled voxels of floats. See "omero" in https://ngff.openmicroscopy.org/0.5/.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from teralign.grids import Grid, Region, Triple
from teralign.volumes.description import Voxels

_SHOWN = (0.1, 99.9)
_MAX_VOXELS = 16_000_000  # about a cube of 256, the largest coarsest level by default

Window = tuple[float, float, float, float]
Read = Callable[[Region, int], Voxels]
"""A function that reads the (z, y, x) voxels of a region at a timepoint."""


def whole_range(dtype: np.dtype[np.generic]) -> Window:
    """Return the window of all values of an integer type, and from 0 to 1 for floats and booleans."""
    limits = None if dtype.kind in "bf" else np.iinfo(dtype.str)
    low, high = (0.0, 1.0) if limits is None else (float(limits.min), float(limits.max))
    return low, high, low, high


def window_of(
    read: Read,
    grid: Grid,
    unit: Triple,
    timepoints: int,
    dtype: np.dtype[np.generic],
    *,
    max_voxels: int = _MAX_VOXELS,
) -> Window | None:
    """Return the window of a channel of voxels on `grid`, None where fewer than two values are there.

    Of larger levels about `max_voxels` voxels count, in units of `unit` (z, y, x) spread evenly over space and time.
    """
    if dtype.kind == "b":
        return None
    kept = [
        array[np.isfinite(array)] if dtype.kind == "f" else array.ravel()
        for array in _sample(read, grid, unit, timepoints, max_voxels)
    ]
    values = np.concatenate(kept)
    if values.size == 0:
        return None
    start, end = (float(edge) for edge in np.percentile(values.astype(np.float64), _SHOWN))
    if dtype.kind in "iu":
        start, end = round(start), round(end)
    low, high = (float(values.min()), float(values.max())) if dtype.kind == "f" else whole_range(dtype)[:2]
    if start == end:  # little but background: then the brightest voxels
        end = float(values.max())
    return (low, high, float(start), float(end)) if start < end else None


def _sample(read: Read, grid: Grid, unit: Triple, timepoints: int, max_voxels: int) -> Iterator[Voxels]:
    """Yield the voxels of units spread evenly over all timepoints, or of all units."""
    regions = [(t, region) for t in range(timepoints) for region in grid.region.split(unit)]
    largest = max(region.size for _, region in regions)
    count = min(len(regions), max(1, max_voxels // largest))
    for i in range(count):
        timepoint, region = regions[(2 * i + 1) * len(regions) // (2 * count)]
        yield read(region, timepoint)
