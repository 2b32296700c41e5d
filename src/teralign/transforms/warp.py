"""Images warped by transforms: each output voxel takes the moving image's value at the image of its centre.

The moving volume ends half a voxel beyond the centres of its outermost voxels: up to there their values continue, and
beyond is `fill`. A value depends on the global index of its voxel only: any division into regions and any number of
threads give the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from teralign.grids import Floats, Grid, Region
from teralign.transforms import kernels
from teralign.transforms.chain import chain_of, to_index, to_physical
from teralign.transforms.kernels import Chain, LoadedVoxels, OutputRange, Values
from teralign.transforms.stack import Stack
from teralign.transforms.threads import over_ranges

_SAMPLERS: dict[str, Callable[..., int]] = {
    "nearest": kernels.warp_nearest,
    "linear": kernels.warp_linear,
    "cubic": kernels.warp_cubic,
}
_REACH = {"nearest": 0, "linear": 0, "cubic": 1}  # voxels beyond the two around a position, on each side
_KERNEL_TYPES = {"b1": "u1", "i1": "i2", "u4": "f8", "i4": "f8", "u8": "f8", "i8": "f8", "f2": "f4"}
_SLACK = 1e-6  # voxels, for rounding
_BOX_SHAPE = (16, 16, 16)  # boxes of a region whose images are bounded one by one
_MAX_BOXES = 4096
_MIN_VOXELS = 2**15  # worth a thread


def warp(
    moving: Values | Sequence[Values],
    moving_grid: Grid,
    *,
    grid: Grid,
    region: Region,
    transform: Stack,
    moving_region: Region | None = None,
    interpolation: str = "linear",
    fill: float = 0,
    threads: int = 1,
) -> Values:
    """Return the moving image on the voxels `region` of `grid`, in the type of `moving`.

    `transform` takes points of `grid` to points of `moving_grid`, both in µm. `moving` (z, y, x) holds the voxels
    `moving_region` of `moving_grid`, by default all: at least `needed_region(...)`. Interpolation is "linear",
    "nearest" (labels keep their ids) or "cubic" (Catmull-Rom); integers are rounded and saturated.

    Several channels (c, z, y, x) of one type become as many, and their coordinates are computed once. A list of
    (z, y, x) arrays is copied into one array; give one array to save memory.

    Raises ValueError when the shapes do not fit, or `moving` lacks voxels that are needed.
    """
    image = np.asarray(moving)
    channels = image if image.ndim == 4 else image[None]
    loaded = moving_region or moving_grid.region
    if channels.shape[1:] != loaded.shape:
        raise ValueError(f"moving has shape {channels.shape[1:]}, and its region is {loaded.shape}")
    result = np.dtype(channels.dtype.newbyteorder("="))
    flat = _as_kernel_type(channels.astype(result, copy=False), interpolation).reshape(len(channels), loaded.size)
    out = np.empty((len(channels), *region.shape), flat.dtype)
    outside = _as_kernel_type(cast(np.array([fill]), result), interpolation)[0]
    voxels = LoadedVoxels(*(np.array(t, np.int64) for t in (moving_grid.shape, loaded.start, loaded.shape)))
    chain = _voxel_chain(transform, grid, region, moving_grid)
    limits, start, sample = _limits(flat.dtype), np.array(region.start, np.int64), _SAMPLERS[interpolation]
    missing = over_ranges(
        lambda first, last: sample(first, last, out, flat, voxels, limits, outside, start, chain),
        region.shape[0] * region.shape[1],
        threads=threads,
        min_length=_MIN_VOXELS // max(1, region.shape[2]) + 1,
    )
    if missing:
        raise ValueError(f"{missing} voxels need more of the moving volume than {loaded.start} to {loaded.stop}")
    warped = out.view(result) if interpolation == "nearest" else cast(out, result)
    return warped if image.ndim == 4 else warped[0]


def needed_region(
    transform: Stack, grid: Grid, region: Region, moving_grid: Grid, interpolation: str = "linear"
) -> Region:
    """Return the voxels of the moving volume that warping to `region` of `grid` reads, or a few more.

    The region is cut into small boxes, whose images are bounded one by one. The bounds hold for any transform.
    Where no voxel is needed the region has size 0.
    """
    if region.size == 0:
        return Region((0, 0, 0), (0, 0, 0))
    edge = [max(b, -(-n // int(_MAX_BOXES ** (1 / 3)))) for b, n in zip(_BOX_SHAPE, region.shape, strict=True)]
    boxes = _boxes(region, edge)
    mapped = np.empty_like(boxes)
    kernels.map_boxes(0, len(boxes), boxes, mapped, _voxel_chain(transform, grid, region, moving_grid))
    low, high = mapped[:, 0] - _SLACK, mapped[:, 1] + _SLACK
    last = np.array(moving_grid.shape) - 1
    touching = ((high >= -0.5) & (low <= last + 0.5)).all(axis=1)
    if not touching.any():
        return Region((0, 0, 0), (0, 0, 0))
    reach = _REACH[interpolation]
    first = np.floor(low[touching].min(axis=0)).astype(np.int64) - reach
    final = np.floor(high[touching].max(axis=0)).astype(np.int64) + 1 + reach
    start, stop = np.clip(first, 0, last), np.clip(final, 0, last) + 1
    return Region(tuple(start.tolist()), tuple(stop.tolist()))


def cast(array: ArrayLike, dtype: DTypeLike) -> Values:
    """Convert `array` to `dtype`: for integers rounded to nearest (halves to even) and saturated, NaN becomes 0."""
    values, target = np.asarray(array), np.dtype(dtype)
    if target.kind not in "iu" or values.dtype == target:
        return values.astype(target, copy=False)
    if values.dtype.kind in "iub":
        limits, own = np.iinfo(target), values.dtype if values.dtype.kind != "b" else np.dtype(np.uint8)
        low, high = max(limits.min, np.iinfo(own).min), min(limits.max, np.iinfo(own).max)
        return np.clip(values.astype(own, copy=False), low, high).astype(target)
    return _saturated(np.nan_to_num(np.rint(values), nan=0.0), target)


def _saturated(values: Values, target: np.dtype[Any]) -> Values:
    """Convert whole numbers in floats to integers; values beyond the range become its ends exactly."""
    limits = np.iinfo(target)
    inner = np.clip(values.astype(np.float64), *_limits(target)[1:]).astype(target)
    inner[values >= limits.max] = limits.max
    return inner


def _limits(dtype: np.dtype[Any]) -> OutputRange:
    """Return the limits of a float64 for `dtype` in the kernels: the largest float64 within its range."""
    if dtype.kind not in "iu":
        return OutputRange(False, -np.inf, np.inf)
    limits = np.iinfo(dtype)
    high = float(limits.max)
    return OutputRange(True, float(limits.min), high if int(high) <= limits.max else float(np.nextafter(high, 0)))


def _as_kernel_type(values: Values, interpolation: str) -> Values:
    """Return the values contiguous and in one of the few types that the kernels are compiled for.

    Nearest values are copied bit by bit, as unsigned integers of their size.
    """
    values = np.ascontiguousarray(values)
    if interpolation == "nearest":
        return values.view(f"u{values.dtype.itemsize}")
    return values.astype(_KERNEL_TYPES.get(values.dtype.str[1:], values.dtype), copy=False)


def _voxel_chain(transform: Stack, grid: Grid, region: Region, moving_grid: Grid) -> Chain:
    """Return the chain from voxel indices of `grid` to those of `moving_grid`, valid for the voxels of `region`."""
    low, high = grid.to_physical(region.start), grid.to_physical(np.array(region.stop) - 1)
    parts = transform.load(low, high).loaded() or ()
    return chain_of(parts, before=to_physical(grid), after=to_index(moving_grid))


def _boxes(region: Region, edge: Sequence[int]) -> Floats:
    """Return boxes (n, 2, 3) that cover the voxel centres of `region`, of at most `edge` voxels along each axis."""
    starts = [np.arange(a, b, e) for a, b, e in zip(region.start, region.stop, edge, strict=True)]
    low = np.stack(np.meshgrid(*starts, indexing="ij"), axis=-1).reshape(-1, 3)
    high = np.minimum(low + edge, region.stop) - 1
    return np.ascontiguousarray(np.stack([low, high], axis=1), dtype=np.float64)
