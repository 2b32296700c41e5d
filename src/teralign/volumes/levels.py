"""The coarser levels of a volume that its container already holds.

A level counts only if its voxels lie where the means over groups of whole voxels lie, from the first one on
(`Grid.downsample`), and if it covers the volume: then it can stand for these means.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from teralign.errors import InputError
from teralign.grids import FloatTriple, Grid, Triple, as_float_triple, as_triple
from teralign.volumes.units import is_size
from teralign.volumes.uri import locate
from teralign.volumes.volume import Volume, open_level

_CLOSE = 1e-3  # of a voxel: metadata are rounded


def coarser_levels(volume: Volume) -> dict[Triple, Volume]:
    """Return the coarser levels of the same image, by their factors (z, y, x) to the voxels of `volume`.

    Empty if the format has none, or its metadata lack their voxel sizes.
    """
    if not volume.scales:
        return {}
    container, _, _ = locate(volume.uri)
    try:
        stated = open_level(volume.uri).grid
    except InputError:
        return {}
    levels = {}
    for dataset in volume.scales:
        level = _level(volume, f"{container}/{dataset}", stated)
        if level is not None:
            levels[level[0]] = level[1]
    return levels


def stored_levels(volume: Volume) -> dict[Triple, Volume]:
    """Return the coarser levels as `coarser_levels` does, each placed as a command that is given its URI places it.

    Where the user has set the voxel size, that of a level follows from it; else it is what the level states, to the
    last bit.
    """
    levels = coarser_levels(volume)
    if not levels or open_level(volume.uri).grid.divide(volume.expansion) != volume.grid:
        return levels
    return {
        factors: replace(level, grid=open_level(level.uri).grid.divide(volume.expansion), expansion=volume.expansion)
        for factors, level in levels.items()
    }


def scale_ratio(volume: Volume) -> FloatTriple | None:
    """Return the factors (z, y, x) from the finest scale of an image to `volume`, which is one of its scales.

    It follows from the metadata, else from the shapes; None if neither gives it.
    """
    container, _, _ = locate(volume.uri)
    beside = (_opened(f"{container}/{dataset}") for dataset in volume.scales)
    finer = [
        scale
        for scale in beside
        if scale is not None
        and (scale.channels, scale.timepoints, scale.dtype) == (volume.channels, volume.timepoints, volume.dtype)
        and all(n >= m for n, m in zip(scale.grid.shape, volume.grid.shape, strict=True))
    ]
    finest = max((volume, *finer), key=lambda scale: scale.grid.region.size)
    ratios = [_ratio(volume, finest, axis) for axis in range(3)]
    known = [ratio for ratio in ratios if ratio is not None]
    return as_float_triple(known) if len(known) == len(ratios) else None


def _ratio(coarse: Volume, fine: Volume, axis: int) -> float | None:
    """Return the number of voxels of `fine` in one voxel of `coarse` along an axis, None if it is not known."""
    a, b = coarse.description, fine.description
    for sizes in ((a.spacing, b.spacing), (a.relative_spacing, b.relative_spacing)):
        large, small = (None if size is None else size[axis] for size in sizes)
        if is_size(large) and is_size(small):
            return _snapped(large / small)
    n, m = fine.grid.shape[axis], coarse.grid.shape[axis]
    ratio = round(n / m)
    return float(ratio) if m in (n // ratio, -(-n // ratio)) else None


def _opened(uri: str) -> Volume | None:
    """Open a volume whatever its voxel size; None where it cannot be opened."""
    try:
        return open_level(uri, spacing=(1.0, 1.0, 1.0))
    except InputError:
        return None


def _snapped(ratio: float) -> float:
    """Return a ratio without the rounding of metadata: a whole number where it is close to one."""
    return float(round(ratio)) if abs(ratio - round(ratio)) < _CLOSE else ratio


def _level(volume: Volume, uri: str, stated: Grid) -> tuple[Triple, Volume] | None:
    """Return the level at `uri` and its factors, or None; `stated` is the grid of `volume` by its metadata."""
    try:
        level = open_level(uri)
    except InputError:
        return None
    ratios = np.array(level.grid.spacing) / stated.spacing
    factors = as_triple(np.rint(ratios))
    means = stated.downsample(factors) if min(factors) >= 1 and max(factors) > 1 else None
    same = (level.channels, level.timepoints, level.dtype) == (volume.channels, volume.timepoints, volume.dtype)
    if means is None or not same or np.abs(ratios - factors).max() > _CLOSE:
        return None
    shift = np.abs(means.to_index(level.grid.origin)).max()
    if shift > _CLOSE or any(n < m for n, m in zip(level.grid.shape, means.shape, strict=True)):
        return None
    return factors, open_level(uri, spacing=volume.grid.downsample(factors).spacing)
