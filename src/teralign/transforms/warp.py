"""Images through transforms: each output voxel is pulled from where its centre goes.

Outside the moving volume is outside its voxels: further than half a voxel beyond the centres of the outermost ones.
Within that rim their values continue; beyond it is `fill`. A result depends on the global indices of voxels alone:
any cut into regions, and any number of threads, gives the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from teralign.grids import Floats, Grid, Region
from teralign.transforms import kernels
from teralign.transforms.chain import chain_of, to_index, to_physical
from teralign.transforms.kernels import Chain, Limits, Source
from teralign.transforms.stack import Stack
from teralign.transforms.threads import over_ranges

_SAMPLERS: dict[str, Callable[..., int]] = {
    "nearest": kernels.warp_nearest,
    "linear": kernels.warp_linear,
    "cubic": kernels.warp_cubic,
}
_REACH = {"nearest": 0, "linear": 0, "cubic": 1}  # voxels below the one below a position
_KERNEL_TYPES = {"b1": "u1", "i1": "i2", "u4": "f8", "i4": "f8", "u8": "f8", "i8": "f8", "f2": "f4"}
_SLACK = 1e-6  # voxels, for rounding
_BOX_SHAPE = (16, 16, 16)  # into which a region is cut to find what it needs
_MAX_BOXES = 4096
_LEAST_VOXELS = 2**15  # that pay for a thread


def warp(
    moving: NDArray[Any],
    moving_grid: Grid,
    *,
    grid: Grid,
    region: Region,
    transform: Stack,
    moving_region: Region | None = None,
    interpolation: str = "linear",
    fill: float = 0,
    threads: int = 1,
) -> NDArray[Any]:
    """The moving image on the voxels `region` of `grid`, in the type of `moving`.

    `transform` takes points of `grid` to points of `moving_grid`, both in µm. `moving` (z, y, x) holds the voxels
    `moving_region` of `moving_grid`, by default all: at least `needed_region(...)`. Interpolation is "linear",
    "nearest" (labels keep their ids) or "cubic" (Catmull-Rom); integers are rounded and saturated.

    Raises ValueError when the shapes do not fit, or `moving` lacks voxels that are needed.
    """
    channels = warp_channels(
        moving[None],
        moving_grid,
        grid=grid,
        region=region,
        transform=transform,
        moving_region=moving_region,
        interpolation=interpolation,
        fill=fill,
        threads=threads,
    )
    image: NDArray[Any] = channels[0]
    return image


def warp_channels(
    moving: NDArray[Any] | Sequence[NDArray[Any]],
    moving_grid: Grid,
    *,
    grid: Grid,
    region: Region,
    transform: Stack,
    moving_region: Region | None = None,
    interpolation: str = "linear",
    fill: float = 0,
    threads: int = 1,
) -> NDArray[Any]:
    """As `warp`, for several channels (c, z, y, x) of one type, whose coordinates are computed once.

    A list of (z, y, x) arrays is copied into one; give one array where memory counts.
    """
    channels = np.asarray(moving)
    held = moving_region or moving_grid.region
    if channels.shape[1:] != held.shape:
        raise ValueError(f"moving has shape {channels.shape[1:]}, and its region is {held.shape}")
    result = np.dtype(channels.dtype.newbyteorder("="))
    flat = _as_kernel_type(channels.astype(result, copy=False), interpolation).reshape(len(channels), held.size)
    out = np.empty((len(channels), *region.shape), flat.dtype)
    outside = _as_kernel_type(cast(np.array([fill]), result), interpolation)[0]
    source = Source(*(np.array(t, np.int64) for t in (moving_grid.shape, held.start, held.shape)))
    chain = _voxel_chain(transform, grid, region, moving_grid)
    limits, start, sample = _limits(flat.dtype), np.array(region.start, np.int64), _SAMPLERS[interpolation]
    missing = over_ranges(
        lambda first, last: sample(first, last, out, flat, source, limits, outside, start, chain),
        region.shape[0] * region.shape[1],
        threads=threads,
        least=_LEAST_VOXELS // max(1, region.shape[2]) + 1,
    )
    if missing:
        raise ValueError(f"{missing} voxels need more of the moving volume than {held.start} to {held.stop}")
    return out.view(result) if interpolation == "nearest" else cast(out, result)


def needed_region(
    transform: Stack, grid: Grid, region: Region, moving_grid: Grid, interpolation: str = "linear"
) -> Region:
    """The voxels of the moving volume that warping to `region` of `grid` reads, or a few more; of size 0 if none.

    The region is cut into small boxes, whose images are bounded one by one. The answer holds whatever the transform.
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


def cast(array: ArrayLike, dtype: DTypeLike) -> NDArray[Any]:
    """`array` as `dtype`: for integers rounded to the nearest (halves to even) and saturated, and NaN becomes 0."""
    values, wanted = np.asarray(array), np.dtype(dtype)
    if wanted.kind not in "iu" or values.dtype == wanted:
        return values.astype(wanted, copy=False)
    if values.dtype.kind in "iub":
        limits, own = np.iinfo(wanted), values.dtype if values.dtype.kind != "b" else np.dtype(np.uint8)
        low, high = max(limits.min, np.iinfo(own).min), min(limits.max, np.iinfo(own).max)
        return np.clip(values.astype(own, copy=False), low, high).astype(wanted)
    return _saturated(np.nan_to_num(np.rint(values), nan=0.0), wanted)


def _saturated(values: NDArray[Any], wanted: np.dtype[Any]) -> NDArray[Any]:
    """Whole numbers held as floats, as integers; those beyond the range become its ends exactly."""
    limits = np.iinfo(wanted)
    inner = np.clip(values.astype(np.float64), *_limits(wanted)[1:]).astype(wanted)
    inner[values >= limits.max] = limits.max
    return inner


def _limits(dtype: np.dtype[Any]) -> Limits:
    """How the kernels turn a float64 into `dtype`: the largest float64 that is still in its range is the limit."""
    if dtype.kind not in "iu":
        return Limits(False, -np.inf, np.inf)
    limits = np.iinfo(dtype)
    high = float(limits.max)
    return Limits(True, float(limits.min), high if int(high) <= limits.max else float(np.nextafter(high, 0)))


def _as_kernel_type(values: NDArray[Any], interpolation: str) -> NDArray[Any]:
    """The values in one of the few types that the kernels are compiled for, contiguous.

    The nearest values are copied bit by bit, and so as unsigned integers of their size.
    """
    values = np.ascontiguousarray(values)
    if interpolation == "nearest":
        return values.view(f"u{values.dtype.itemsize}")
    return values.astype(_KERNEL_TYPES.get(values.dtype.str[1:], values.dtype), copy=False)


def _voxel_chain(transform: Stack, grid: Grid, region: Region, moving_grid: Grid) -> Chain:
    """From voxel indices of `grid` to those of `moving_grid`, good for the voxels of `region`."""
    low, high = grid.to_physical(region.start), grid.to_physical(np.array(region.stop) - 1)
    parts = transform.load(low, high).loaded() or ()
    return chain_of(parts, before=to_physical(grid), after=to_index(moving_grid))


def _boxes(region: Region, edge: Sequence[int]) -> Floats:
    """Boxes (n, 2, 3) of voxel centres that cover those of `region`, of at most `edge` voxels along each axis."""
    starts = [np.arange(a, b, e) for a, b, e in zip(region.start, region.stop, edge, strict=True)]
    low = np.stack(np.meshgrid(*starts, indexing="ij"), axis=-1).reshape(-1, 3)
    high = np.minimum(low + edge, region.stop) - 1
    return np.ascontiguousarray(np.stack([low, high], axis=1), dtype=np.float64)
