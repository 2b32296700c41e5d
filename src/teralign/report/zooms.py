"""Close views of a few places, at the scale that was aligned: the best, the median and the worst block."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from teralign.grids import FloatTriple, Grid, Region, as_triple
from teralign.report.maps import VolumeMap
from teralign.report.slices import SlicedGrid, SliceLook, page_planes, sprites
from teralign.transforms import Resampler
from teralign.trust import AssessedBlock
from teralign.volumes import Volume

T = TypeVar("T")

_LOOK = SliceLook(side=224, slices=5, quality=75)
_LEAST, _MOST = 96, 160  # voxels along an edge of a view
_READ = 128_000_000  # moving voxels for a view, at most


@dataclass(frozen=True)
class CloseUp:
    """A place to look at closely: `title` with its value, and middle and size (z, y, x) in µm of its block."""

    title: str
    middle: FloatTriple
    size: FloatTriple


@dataclass(frozen=True)
class CloseImages:
    """The images of a close view: the fixed volume, and the moving one in each state by its name."""

    fixed: Volume
    channel: int
    timepoint: int
    moving: Mapping[str, Resampler]
    moving_channel: int
    moving_timepoint: int


def places_of_blocks(blocks: Sequence[AssessedBlock]) -> list[CloseUp]:
    """Return the best, the median and the worst block by their error, or by their margin where no error is known."""
    by_error = [b for b in blocks if b.error_um is not None]
    if by_error:
        return _places(by_error, lambda b: b.error_um or 0.0, lambda b: f"error {b.error_um:.2f} µm", _place_of)
    by_margin = [b for b in blocks if b.margin is not None]
    return _places(by_margin, lambda b: -(b.margin or 0.0), lambda b: f"margin {b.margin:.2f}", _place_of)


def places_of_map(map_: VolumeMap) -> list[CloseUp]:
    """Return the best, the median and the worst box of a map whose greatest values are the best."""
    boxes = [tuple(int(i) for i in index) for index in np.argwhere(np.isfinite(map_.values))]

    def place(index: tuple[int, ...], title: str) -> CloseUp:
        low = [float(e[i]) for e, i in zip(map_.edges, index, strict=True)]
        high = [float(e[i + 1]) for e, i in zip(map_.edges, index, strict=True)]
        z, y, x = ((a + b) / 2 for a, b in zip(low, high, strict=True))
        sz, sy, sx = (b - a for a, b in zip(low, high, strict=True))
        return CloseUp(title, (z, y, x), (sz, sy, sx))

    return _places(
        boxes,
        lambda index: -float(map_.values[index]),
        lambda index: f"{map_.title.lower()} {map_.values[index]:.2f}",
        place,
    )


def close_view(
    place: CloseUp,
    images: CloseImages,
    windows: tuple[tuple[float, float], ...],
    titles: Mapping[str, str],
    *,
    threads: int = 1,
) -> dict[str, object] | None:
    """Return a place as the viewer reads it, None where too much of the moving volume would be read for it.

    `windows` are those of the fixed and of the moving volume.
    """
    grid = images.fixed.grid
    region = _around(grid, place)
    here = Grid(region.shape, grid.spacing, tuple(grid.to_physical(region.start)))
    sliced = SlicedGrid.of(here, _LOOK)
    states = []
    for state, resampler in images.moving.items():
        array = _warped(resampler, region, images, threads)
        if array is None:
            return None
        states.append(
            {"name": state, "title": titles[state], "sprites": sprites(array, sliced, windows[1], _LOOK.quality)}
        )
    fixed = images.fixed.read(region, channel=images.channel, timepoint=images.timepoint).astype(np.float32)
    return {
        "title": place.title,
        "pixel": sliced.pixel_um,
        "corner": sliced.corner_um,
        "planes": page_planes(sliced),
        "fixed": sprites(fixed, sliced, windows[0], _LOOK.quality),
        "states": states,
    }


def _warped(resampler: Resampler, region: Region, images: CloseImages, threads: int) -> NDArray[np.float32] | None:
    """Return the moving image of a region, None where it would need too many voxels."""
    needed = resampler.needed(region)
    if needed is None:
        return np.zeros(region.shape, np.float32)
    if needed.region.size > _READ:
        return None
    warped = resampler.warp(region, needed, [images.moving_channel], images.moving_timepoint, threads=threads)
    return np.zeros(region.shape, np.float32) if warped is None else np.asarray(warped[0], np.float32)


def _around(grid: Grid, place: CloseUp) -> Region:
    """Return the voxels of a view: those of the block, and around a small one some more."""
    middle = np.rint(grid.to_index(place.middle)).astype(int)
    sides = [
        min(n, _MOST, max(_LEAST, round(length / s)))
        for n, length, s in zip(grid.shape, place.size, grid.spacing, strict=True)
    ]
    start = [int(np.clip(m - side // 2, 0, n - side)) for m, side, n in zip(middle, sides, grid.shape, strict=True)]
    return Region(as_triple(start), as_triple(a + side for a, side in zip(start, sides, strict=True)))


def _places(
    items: Sequence[T],
    badness: Callable[[T], float],
    text: Callable[[T], str],
    place: Callable[[T, str], CloseUp],
) -> list[CloseUp]:
    """Return the best, the median and the worst of some items, fewer where there are fewer."""
    ranked = sorted(items, key=badness)
    wanted = {"Worst block": len(ranked) - 1, "Median block": (len(ranked) - 1) // 2, "Best block": 0}
    chosen: dict[int, str] = {}
    for title, index in wanted.items():
        if ranked:
            chosen.setdefault(index, title)
    return [place(ranked[index], f"{title}: {text(ranked[index])}") for index, title in chosen.items()]


def _place_of(block: AssessedBlock, title: str) -> CloseUp:
    z, y, x = (a + length / 2 for a, length in zip(block.start, block.size, strict=True))
    return CloseUp(title, (z, y, x), block.size)
