"""The images of an alignment: volumes with their channel and mask, checked before any long work."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from teralign.addresses import absolute_uri
from teralign.alignment.masks import Mask, masks_out, open_mask, read_mask
from teralign.alignment.side import Side
from teralign.errors import InputError
from teralign.grids import Grid, Region
from teralign.provenance import own_name
from teralign.registration import Image
from teralign.volumes import Direction, Volume, check_channel, check_timepoint, open_volume

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ImageSource:
    """The fixed or moving image: the source of its voxels and of its mask. Picklable."""

    role: str
    volume: Volume
    channel: int
    timepoint: int = 0
    mask: Mask | None = None

    @property
    def grid(self) -> Grid:
        """The grid of the whole volume."""
        return self.volume.grid

    @property
    def direction(self) -> Direction | None:
        """The direction of the volume's axes, None where they are straight."""
        return self.volume.direction

    @property
    def voxel_bytes(self) -> int:
        """Bytes of a voxel, before compression."""
        return self.volume.dtype.itemsize

    def digest(self) -> list[object]:
        """Return what identifies the image: volume, channel, timepoint, mask, and the positions of their voxels."""
        grid = [self.grid.shape, self.grid.spacing, self.grid.origin]
        mask = self.mask.digest() if self.mask else None
        return [self.volume.digest(), self.channel, self.timepoint, mask, grid]

    def described(self, side: Side) -> dict[str, object]:
        """Return the image as reports give it, with the user's own names; (z, y, x), µm."""
        return {
            "uri": own_name(side.uri),
            "shape": self.grid.shape,
            "spacing_um": self.grid.spacing,
            "origin_um": self.grid.origin,
            "channel": self.channel,
            "timepoint": self.timepoint,
            "mask": None if side.mask is None else own_name(side.mask),
            "mask_labels": side.mask_labels,
        }

    def masks_out(self, region: Region) -> bool:
        """Return whether the mask leaves no voxel of `region`; reads no voxels of the volume."""
        return self.mask is not None and masks_out(self.mask, self.grid, region)

    def read(self, region: Region | None = None) -> Image:
        """Return the image of `region` (default: all), with a mask of the voxels that count.

        Besides those of the mask, voxels that are NaN, infinite or padding do not count.
        """
        whole = region is None
        region = region or self.grid.region
        array = self.volume.read(region, channel=self.channel, timepoint=self.timepoint)
        mask = None if self.mask is None else read_mask(self.mask, self.grid, region)
        image = Image(array, self.grid.crop(region), mask)
        finite = image.finite()
        data = finite.without_padding(part=region != self.grid.region)
        if whole:
            self._log_share(finite is not image, finite, "NaN or infinite")
            self._log_share(data is not finite, data, "padding or beside it")
        return data

    def _log_share(self, changed: bool, image: Image, kind: str) -> None:
        if changed and image.mask is not None:
            left = 100 * float(image.mask.mean())
            log.info("%s: voxels that are %s do not count; %.1f %% remain", self.role, kind, left)


def open_source(role: str, side: Side) -> ImageSource:
    """Open the volume and the mask of a command's `role` ("fixed" or "moving"); reads no voxels of the volume itself.

    A path is made absolute, since workers may run in other directories. The mask "auto" reads a coarse scale of the
    volume. Raises InputError for whatever cannot be opened or does not exist.
    """
    volume = open_volume(absolute_uri(side.uri), spacing=side.spacing, option=f"--{role}-spacing")
    check_channel(role, volume, side.channel)
    check_timepoint(role, volume, side.timepoint)
    if side.mask is None:
        if side.mask_labels is not None:
            raise InputError(f"--{role}-mask-labels needs --{role}-mask, the volume that has these labels.")
        return ImageSource(role, volume, side.channel, side.timepoint)
    mask = open_mask(role, side.mask, side.mask_labels, volume, channel=side.channel, timepoint=side.timepoint)
    return ImageSource(role, volume, side.channel, side.timepoint, mask)


def why_empty(image: Image) -> str:
    """Return why there is nothing to align in an image; empty when there is something."""
    if image.mask is not None and not image.mask.any():
        return "has no voxel that counts (masked out, NaN or padding)"
    if image.array.min() == image.array.max():
        return f"is {image.array.flat[0]} everywhere"
    return ""
