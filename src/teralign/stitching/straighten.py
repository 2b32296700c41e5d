"""Tiles whose slices are put back where they belong, as they are read: see `wobble`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from teralign.compiling import compiled_fast
from teralign.errors import DataError
from teralign.grids import Floats, Region, Triple
from teralign.stitching.fusion_kernels import Float32s
from teralign.stitching.mapped_kernel import taps_between
from teralign.tiles import Tile

ReadRegion = Callable[[Region], NDArray[np.generic]]
"""Returns the voxels (z, y, x) of a region of a tile as they are stored."""


@dataclass(frozen=True)
class StoredWobble:
    """The wobble of tiles in a file (slices of all tiles, 2) float32: voxels along y and x. Picklable.

    `starts` are the places of the first slices of those tiles that wobble, `largest` is the longest shift along an
    axis.
    """

    path: Path
    starts: Mapping[str, int]
    largest: float

    def read(self, tile: Tile, region: Region, read: ReadRegion) -> NDArray[np.generic]:
        """Return a region of a tile with its slices put back. Raises DataError where the file cannot be read."""
        start = self.starts.get(tile.name)
        if start is None:
            return read(region)
        try:
            stored = np.load(self.path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            reason = str(error).rstrip(".")
            raise DataError(f"{self.path} cannot be read: {reason}; run refine-tiles again.") from error
        return straightened(read, region, tile.shape, np.asarray(stored[start : start + tile.shape[0]], np.float64))


def straightened(
    read: Callable[[Region], NDArray[np.generic]], region: Region, shape: Triple, wobble: Floats
) -> Float32s:
    """Return a region (z, y, x) of a tile of `shape` whose slices are put back by their `wobble` (nz, 2) voxels.

    `read` returns the voxels of any region of it as they are. Beyond faces the last voxels are repeated.
    """
    shifts = wobble[region.start[0] : region.stop[0]]
    reach = int(np.ceil(np.abs(shifts).max(initial=0.0))) + 2
    wanted = region.grow((0, reach, reach))
    inside = wanted.intersect(Region.whole(shape))
    ends = zip(wanted.start, inside.start, inside.stop, wanted.stop, strict=True)
    voxels = np.pad(read(inside), [(b - a, d - c) for a, b, c, d in ends], mode="edge")
    out = np.empty(region.shape, np.float32)
    _put_back(voxels, np.ascontiguousarray(-shifts, np.float64), reach, out)
    return out


@compiled_fast
def _put_back(voxels: NDArray[np.generic], shifts: Floats, reach: int, out: Float32s) -> None:
    """Write voxels (z, y, x) at y + shift, x + shift of each slice to `out`, which is `reach` less on each side."""
    columns = voxels.shape[2]
    row, share, taps = np.zeros(columns, np.float32), np.zeros(2, np.float32), np.zeros((4, 2), np.float32)
    for z in range(out.shape[0]):
        y0, x0 = np.floor(shifts[z, 0]), np.floor(shifts[z, 1])
        share[0], share[1] = shifts[z, 0] - y0, shifts[z, 1] - x0
        taps_between(share, True, taps)
        above, before = reach - 1 + int(y0), reach - 1 + int(x0)
        for y in range(out.shape[1]):
            row[:] = 0
            for j in range(4):
                for x in range(columns):
                    row[x] += taps[j, 0] * np.float32(voxels[z, y + above + j, x])
            for x in range(out.shape[2]):
                value = np.float32(0)
                for i in range(4):
                    value += taps[i, 1] * row[x + before + i]
                out[z, y, x] = value
