"""The images of an alignment: volumes with their channel and mask, checked before any long work."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np

from teralign.alignment.masks import Mask, masks_out, open_mask, read_mask
from teralign.alignment.side import Side
from teralign.errors import InputError
from teralign.grids import Box, Grid, Region, as_float_triple, reverse_axes
from teralign.provenance import own_name
from teralign.registration import Image
from teralign.volumes import (
    Direction,
    OverviewSize,
    Volume,
    check_channel,
    check_timepoint,
    compare_orientations,
    read_overview,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ImageSource:
    """The fixed or moving image: the source of its voxels and of its mask. Picklable.

    `roi` is the low and the high corner (z, y, x) in µm of the region of interest; None is the whole volume.
    """

    role: str
    volume: Volume
    channel: int
    timepoint: int = 0
    mask: Mask | None = None
    roi: Box | None = None

    @property
    def grid(self) -> Grid:
        """The grid of the whole volume."""
        return self.volume.grid

    @property
    def direction(self) -> Direction | None:
        """The direction of the volume's axes, None where they are straight."""
        return self.volume.direction

    @property
    def box(self) -> Region:
        """The voxels of the region of interest, by default all; no other voxel counts."""
        return self.grid.region if self.roi is None else self.grid.touching(*self.roi)

    @property
    def voxel_bytes(self) -> int:
        """Bytes of a voxel, before compression."""
        return self.volume.dtype.itemsize

    def digest(self) -> list[object]:
        """Return what identifies the image: volume, channel, timepoint, mask, box, positions of voxels."""
        grid = [self.grid.shape, self.grid.spacing, self.grid.origin]
        mask = self.mask.digest() if self.mask else None
        return [self.volume.digest(), self.channel, self.timepoint, mask, self.roi, grid]

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
            "roi_um": self.roi,
            "expansion": side.expansion,
        }

    def masks_out(self, region: Region) -> bool:
        """Return whether box and mask leave no voxel of `region`; reads no voxels of the volume."""
        inside = region.intersect(self.box)
        return inside.size == 0 or (self.mask is not None and masks_out(self.mask, self.grid, inside))

    def read(self, region: Region | None = None) -> Image:
        """Return the image of `region` (default: all of the box), with a mask of the voxels that count.

        Besides those of the mask, voxels outside the box, and those that are NaN, infinite or padding, do not count.
        Voxels outside the box are not read.
        """
        inside = self.box if region is None else region.intersect(self.box)
        if region is not None and inside.size == 0:
            none = np.zeros(region.shape, bool)
            return Image(none.astype(self.volume.dtype), self.grid.crop(region), none)
        array = self.volume.read(inside, channel=self.channel, timepoint=self.timepoint)
        mask = None if self.mask is None else read_mask(self.mask, self.grid, inside)
        image = Image(array, self.grid.crop(inside), mask)
        finite = image.finite()
        data = finite.without_padding(part=inside != self.grid.region)
        if region is None:
            self._log_share(finite is not image, finite, "NaN or infinite")
            self._log_share(data is not finite, data, "padding or beside it")
        return data if region is None else extend(data, inside, region, self.grid)

    def read_overview(self, size: OverviewSize) -> Image:
        """Return the image of the box averaged to a coarse grid, with a mask of the voxels that count."""
        shown = read_overview(self.volume, channel=self.channel, timepoint=self.timepoint, size=size, box=self.roi)
        mask = None if self.mask is None else read_mask(self.mask, shown.grid, shown.grid.region)
        return Image(shown.array, shown.grid, mask).finite().without_padding(part=True)

    def _log_share(self, changed: bool, image: Image, kind: str) -> None:
        if changed and image.mask is not None:
            left = 100 * float(image.mask.mean())
            log.info("%s: voxels that are %s do not count; %.1f %% remain", self.role, kind, left)


def extend(image: Image, inside: Region, region: Region, grid: Grid) -> Image:
    """Return an image of the region `inside` of `grid` as one of `region`, with its nearest voxels beyond its faces.

    Voxels beyond the faces do not count.
    """
    if inside == region:
        return image
    stops = zip(inside.stop, region.stop, strict=True)
    widths = [(a, d - c) for a, (c, d) in zip(inside.relative_to(region).start, stops, strict=True)]
    counts = np.ones(inside.shape, bool) if image.mask is None else image.mask
    return Image(np.pad(image.array, widths, mode="edge"), grid.crop(region), np.pad(counts, widths))


def open_source(role: str, side: Side) -> ImageSource:
    """Open the volume and the mask of a command's `role` ("fixed" or "moving"); reads no voxels of the volume itself.

    The mask "auto" reads a coarse scale of the volume. Raises InputError for whatever cannot be opened or does not
    exist, and for a region of interest outside the volume.
    """
    volume = side.open(role)
    check_channel(role, volume, side.channel)
    check_timepoint(role, volume, side.timepoint)
    if volume.channels > 1:
        log.info(
            "%s: channel %d (%s) of the channels 0 to %d; --%s-channel selects another",
            role,
            side.channel,
            volume.channel_names[side.channel],
            volume.channels - 1,
            role,
        )
    roi = None if side.roi is None else _checked_box(role, volume, side.roi)
    if side.mask is None:
        if side.mask_labels is not None:
            raise InputError(f"--{role}-mask-labels needs --{role}-mask, the volume that has these labels.")
        return ImageSource(role, volume, side.channel, side.timepoint, roi=roi)
    mask = open_mask(role, side.mask, side.mask_labels, volume, channel=side.channel, timepoint=side.timepoint)
    return ImageSource(role, volume, side.channel, side.timepoint, mask, roi)


def _checked_box(role: str, volume: Volume, given: Box) -> Box:
    """Return a region of interest in µm of the sample before its expansion, as those of the volume's grid are.

    Raises InputError for corners in the wrong order, and for a box that touches no voxel.
    """
    low, high = given
    corners = ",".join(f"{value:g}" for corner in given for value in reverse_axes(corner))
    if not all(a < b for a, b in zip(low, high, strict=True)):
        raise InputError(f"--{role}-roi {corners} must be the low corner x,y,z and then the high corner, in µm.")
    box = as_float_triple(v / volume.expansion for v in low), as_float_triple(v / volume.expansion for v in high)
    if volume.grid.touching(*box).size == 0:
        faces = (
            volume.grid.to_physical(np.array(at) - 0.5) * volume.expansion for at in ((0, 0, 0), volume.grid.shape)
        )
        first, last = (",".join(f"{value:g}" for value in face[::-1]) for face in faces)
        raise InputError(
            f"--{role}-roi {corners} lies outside {volume.uri}, which reaches from {first} to {last} µm (x,y,z)."
        )
    return box


def open_pair(sides: tuple[Side, Side]) -> tuple[ImageSource, ImageSource]:
    """Open the fixed and the moving image as `open_source` does, and warn where their orientations differ."""
    fixed, moving = open_source("fixed", sides[0]), open_source("moving", sides[1])
    compare_orientations(sides[0].uri, fixed.volume.directions, sides[1].uri, moving.volume.directions)
    return fixed, moving


def why_empty(image: Image) -> str:
    """Return why there is nothing to align in an image; empty when there is something."""
    if image.mask is not None and not image.mask.any():
        return "has no voxel that counts (masked out, NaN or padding)"
    if image.array.min() == image.array.max():
        return f"is {image.array.flat[0]} everywhere"
    return ""
