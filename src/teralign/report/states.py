"""The states of an alignment that a report compares, and the moving image in each of them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import takewhile

import numpy as np
from numpy.typing import NDArray

from teralign.grids import Triple
from teralign.transforms import Stack, warp
from teralign.volumes import Overview

STATES = {"before": "Before", "global": "After the global step", "after": "After all steps"}
"""The names of the states, for people."""

_TILE: Triple = (64, 128, 128)  # voxels of an overview that are warped at a time


@dataclass(frozen=True)
class Seen:
    """The moving image (z, y, x) on the fixed grid, 0 where the moving volume has no voxel, and where it has."""

    array: NDArray[np.float32]
    covered: NDArray[np.bool_]


def states_of(stack: Stack) -> dict[str, Stack]:
    """Return the states to show: no transform, the leading affines, all transforms; without repeated states."""
    affines = tuple(takewhile(lambda part: part.affine is not None, stack.transforms))
    states = {"before": Stack()}
    if affines:
        states["global"] = Stack(affines)
    if len(affines) < len(stack.transforms):
        states["after"] = stack
    return states


def seen_through(stack: Stack, fixed: Overview, moving: Overview, *, threads: int = 1) -> Seen:
    """Return the moving overview on the fixed one's grid; fields are read tile by tile."""
    aligned = np.empty(fixed.grid.shape, np.float32)
    for region in fixed.grid.region.split(_TILE):
        corners = fixed.grid.crop(region).corners()
        aligned[region.slices] = warp(
            moving.array,
            moving.grid,
            grid=fixed.grid,
            region=region,
            transform=stack.load(corners[0], corners[-1]),
            fill=np.nan,
            threads=threads,
        )
    covered = np.isfinite(aligned)
    return Seen(np.where(covered, aligned, np.float32(0)), covered)
