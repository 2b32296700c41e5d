"""What goes into an alignment: a volume with its channel and mask, checked before any long work."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from teralign.addresses import absolute_uri
from teralign.errors import DataError, InputError
from teralign.grids import FloatTriple, Grid, Region
from teralign.registration import Image
from teralign.tasks.inputs import check_channel, check_timepoint
from teralign.transforms import Stack, needed_region, warp
from teralign.volumes import Volume, open_volume


@dataclass(frozen=True)
class Source:
    """One side of a registration, fixed or moving: where its voxels and its mask come from. Picklable."""

    role: str
    volume: Volume
    channel: int
    timepoint: int = 0
    mask: Volume | None = None
    mask_grid: Grid | None = None

    @property
    def grid(self) -> Grid:
        """The grid of the whole volume."""
        return self.volume.grid

    @property
    def voxel_bytes(self) -> int:
        """What a voxel takes, before compression."""
        return self.volume.dtype.itemsize

    def digest(self) -> list[object]:
        """What tells this source from another: volume, channel, timepoint and mask, and where their voxels lie."""
        grids = [[g.shape, g.spacing, g.origin] for g in (self.grid, self.mask_grid) if g is not None]
        mask = self.mask.digest() if self.mask else None
        return [self.volume.digest(), self.channel, self.timepoint, mask, grids]

    def read(self, region: Region | None = None) -> Image:
        """The image of `region` (default: all), with its mask.

        Raises DataError when it holds NaNs or infinities.
        """
        region = region or self.grid.region
        image = self._read(region)
        if image.array.dtype.kind == "f" and not np.isfinite(image.array).all():
            count = int((~np.isfinite(image.array)).sum())
            raise DataError(
                f"the {self.role} volume {self.volume.uri} has {count} voxels that are NaN or infinite "
                f"(in {region.start} to {region.stop}, zyx); replace them, for example by 0, and try again."
            )
        return image

    def read_finite(self, region: Region) -> Image:
        """The image of `region` with its mask; NaNs and infinities do not count, and are 0."""
        return self._read(region).finite()

    def _read(self, region: Region) -> Image:
        array = self.volume.read(region, channel=self.channel, timepoint=self.timepoint)
        return Image(array, self.grid.crop(region), self._read_mask(region))

    def _read_mask(self, region: Region) -> NDArray[np.bool_] | None:
        if self.mask is None or self.mask_grid is None:
            return None
        where = needed_region(Stack(), self.grid, region, self.mask_grid, "nearest")
        if where.size == 0:
            return np.zeros(region.shape, dtype=bool)
        values = (self.mask.read(where) > 0).astype(np.uint8)
        return (
            warp(
                values,
                self.mask_grid,
                grid=self.grid,
                region=region,
                transform=Stack(),
                moving_region=where,
                interpolation="nearest",
            )
            > 0
        )


def open_source(
    role: str,
    uri: str,
    *,
    spacing: FloatTriple | None = None,
    channel: int = 0,
    timepoint: int = 0,
    mask: str | None = None,
) -> Source:
    """Open the `role` ("fixed" or "moving") volume of a command and its mask, without reading voxels.

    A path is made absolute, since workers may live in other directories.

    `spacing` (z, y, x) in µm overrides the file's. Raises InputError for whatever cannot be opened or is not there.
    """
    volume = open_volume(absolute_uri(uri), spacing=spacing, option=f"--{role}-spacing")
    check_channel(role, volume, channel)
    check_timepoint(role, volume, timepoint)
    if mask is None:
        return Source(role, volume, channel, timepoint)
    return Source(role, volume, channel, timepoint, *_open_mask(role, mask, volume.grid))


def nothing_in(image: Image) -> str:
    """Why there is nothing to align in an image; empty when there is something."""
    if image.mask is not None and not image.mask.any():
        return "is masked out"
    if image.array.min() == image.array.max():
        return f"is {image.array.flat[0]} everywhere"
    return ""


def _open_mask(role: str, uri: str, grid: Grid) -> tuple[Volume, Grid]:
    """Open a mask and say where its voxels lie.

    By its own metadata when they have a spacing, else stretched over the field of view of the image of this grid.
    """
    try:
        mask = open_volume(absolute_uri(uri))
    except InputError:
        mask = open_volume(absolute_uri(uri), spacing=grid.spacing, option=f"--{role}-mask")
        scale = [m / n for m, n in zip(grid.shape, mask.grid.shape, strict=True)]
        first = grid.to_physical([s / 2 - 0.5 for s in scale])
        z, y, x = (d * s for d, s in zip(grid.spacing, scale, strict=True))
        return mask, Grid(mask.grid.shape, (z, y, x), (first[0], first[1], first[2]))
    return mask, mask.grid
