"""Images of the moving side on the grid of the fixed one."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from teralign.api.frames import Frame
from teralign.cluster import worker_threads
from teralign.errors import InputError
from teralign.grids import Grid, as_float_triple
from teralign.transforms import Stack, along_axes, warp

W = TypeVar("W")

INTERPOLATIONS = {0: "nearest", 1: "linear", 3: "cubic"}


def warp_image(image: W, transform: Stack, fixed: Frame, moving: Frame, *, order: int) -> W:
    """Return an image on the fixed grid, or on that of `like`, as `Registration.warp` says."""
    if order not in INTERPOLATIONS:
        raise InputError(f"order must be 0 (nearest), 1 (linear) or 3 (cubic), not {order!r}.")
    stack = along_axes(transform, fixed.direction, moving.direction)
    if not isinstance(image, np.ndarray):
        raise InputError(f"an image to warp must be an array, not a {type(image).__name__}.")
    return _warp_array(image, stack, fixed.grid, moving, order)  # type: ignore[return-value]


def _warp_array(
    image: NDArray[np.generic], stack: Stack, grid: Grid, moving: Frame, order: int
) -> NDArray[np.generic]:
    return warp(
        image,
        grid_of_array(image.shape, moving),
        grid=grid,
        region=grid.region,
        transform=stack,
        interpolation=INTERPOLATIONS[order],
        threads=worker_threads(),
    )


def grid_of_array(shape: tuple[int, ...], moving: Frame) -> Grid:
    """Return the grid of an array (z, y, x) or (c, z, y, x) that covers the field of view of the moving image."""
    if len(shape) not in (3, 4):
        raise InputError(f"an image to warp has the axes (z, y, x), or (c, z, y, x), not the shape {shape}.")
    own = moving.grid
    if shape[-3:] == own.shape:
        return own
    scale = [n / m for n, m in zip(own.shape, shape[-3:], strict=True)]
    spacing = as_float_triple(d * s for d, s in zip(own.spacing, scale, strict=True))
    first = own.to_physical([s / 2 - 0.5 for s in scale])
    return Grid(shape[-3:], spacing, as_float_triple(first))  # type: ignore[arg-type]
