"""The coarser levels of a volume that its container already holds.

A level counts only if its voxels lie where the means over groups of whole voxels lie, from the first one on
(`Grid.downsample`), and if it covers the volume: then it can stand for these means.
"""

from __future__ import annotations

import numpy as np

from teralign.errors import InputError
from teralign.grids import Grid, Triple, as_triple
from teralign.volumes.uri import locate
from teralign.volumes.volume import Volume, open_level

_CLOSE = 1e-3  # of a voxel: metadata are rounded


def coarser_levels(volume: Volume) -> dict[Triple, Volume]:
    """The coarser levels of the same image, by how many voxels (z, y, x) of `volume` make one of theirs.

    Empty where the format has none, or its metadata do not say how large their voxels are.
    """
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


def _level(volume: Volume, uri: str, stated: Grid) -> tuple[Triple, Volume] | None:
    """The level at `uri` and its factors; `stated` is the grid of `volume` by its metadata. None where it is none."""
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
