"""The values of a volume's voxels, from a sample whose size does not grow with the volume."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from teralign.grids import Region, as_triple, product
from teralign.volumes import Volume

PERCENTILES = (0.1, 1.0, 50.0, 99.0, 99.9)
_BINS = 32
_CHUNKS = 64


@dataclass(frozen=True)
class Histogram:
    """The counts of `voxels` sampled values between successive `edges`, with their range, mean and percentiles.

    `percentiles` has the values at `PERCENTILES`. NaN and infinite voxels appear only in `not_finite`.
    """

    voxels: int
    not_finite: int
    low: float
    high: float
    mean: float
    percentiles: tuple[float, ...]
    edges: tuple[float, ...]
    counts: tuple[int, ...]


def sample_voxels(
    volume: Volume, *, channel: int = 0, timepoint: int = 0, read: int = 256_000_000, kept: int = 4_000_000
) -> NDArray[np.generic]:
    """Return the values (n,) of about `kept` voxels at most, from chunks spread evenly over the volume.

    At most `read` voxels are read, or one chunk.

    Raises DataError when a chunk cannot be read.
    """
    chunk = math.prod(volume.chunk_shape)
    regions = spread_chunks(volume, min(_CHUNKS, max(1, read // chunk)))
    stride = math.ceil((len(regions) * chunk / kept) ** (1 / 3))
    sampled = []
    for region in regions:
        array = volume.read(region, channel=channel, timepoint=timepoint)
        sampled.append(array[::stride, ::stride, ::stride].ravel())
    return np.concatenate(sampled)


def spread_chunks(volume: Volume, count: int) -> list[Region]:
    """Return the regions of `count` chunks, or of all if they are fewer, spread evenly over the volume."""
    shape, chunk = volume.grid.shape, volume.chunk_shape
    counts = [-(-n // size) for n, size in zip(shape, chunk, strict=True)]
    total = math.prod(counts)
    found = []
    for i in range(min(total, count)):
        index = np.unravel_index((2 * i + 1) * total // (2 * min(total, count)), counts)
        start = product(map(int, index), chunk)
        stop = as_triple(min(a + size, n) for a, size, n in zip(start, chunk, shape, strict=True))
        found.append(Region(start, stop))
    return found


def histogram(values: NDArray[np.generic]) -> Histogram:
    """Return the histogram of values (n,) in at most 32 bins; a bin of integers is at least 1 wide."""
    finite = values[np.isfinite(values)].astype(np.float64)
    if finite.size == 0:
        nan = float("nan")
        return Histogram(0, values.size, nan, nan, nan, (nan,) * len(PERCENTILES), (), ())
    low, high = float(finite.min()), float(finite.max())
    whole = values.dtype.kind != "f"
    counts, edges = np.histogram(
        finite, min(_BINS, int(high - low) + 1) if whole else _BINS, (low, high + 1 if whole else high)
    )
    return Histogram(
        voxels=finite.size,
        not_finite=values.size - finite.size,
        low=low,
        high=high,
        mean=float(finite.mean()),
        percentiles=tuple(np.percentile(finite, PERCENTILES).tolist()),
        edges=tuple(edges.tolist()),
        counts=tuple(counts.tolist()),
    )
