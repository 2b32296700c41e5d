"""Masks of the voxels that count: given by a volume of any sampling, by labels in it, or found in the image itself.

A mask has a grid of its own. A voxel of the image counts if the nearest voxel of the mask does; beyond the faces of
the mask, no voxel counts.
"""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from teralign.addresses import absolute_uri
from teralign.errors import InputError
from teralign.grids import Bools, Grid, Region, as_float_triple, as_triple
from teralign.registration import Image, find_foreground
from teralign.transforms import Stack, along_axes, needed_region, warp
from teralign.volumes import OverviewSize, Volume, agree, coarser_levels, open_volume, read_overview
from teralign.volumes.uri import FIND_MASK

log = logging.getLogger(__name__)

TISSUE_MARGIN = 20.0  # µm around the tissue found, since the start may be off
_OVERVIEW = OverviewSize(kept=4_000_000)  # in which tissue is looked for
_BEYOND = 2  # voxels: means leave out incomplete voxels at the far faces
_SCANNED = 256  # voxels along a side of a piece that is searched at once


class Mask(Protocol):
    """The points of space that count. Picklable."""

    @property
    def grid(self) -> Grid:
        """The grid of the mask's own voxels."""
        ...

    @property
    def from_image(self) -> Stack:
        """The map from positions along the image's axes to those along the mask's, empty where they are the same."""
        ...

    def read(self, region: Region) -> Bools:
        """Return which of its own voxels (z, y, x) in `region` count."""
        ...

    def digest(self) -> list[object]:
        """Return what identifies the mask."""
        ...


@dataclass(frozen=True)
class StoredMask:
    """A volume whose voxels count where they are above 0, or one of `labels`."""

    volume: Volume
    grid: Grid
    labels: tuple[int, ...] | None = None
    from_image: Stack = field(default_factory=Stack)

    def read(self, region: Region) -> Bools:
        """Return which voxels (z, y, x) in `region` count."""
        return _counting(self.volume.read(region), self.labels)

    def digest(self) -> list[object]:
        """Return the volume, its position, and its labels."""
        return [self.volume.digest(), _lies(self.grid), self.labels]


@dataclass(frozen=True, eq=False)
class FoundMask:
    """A mask in memory; `bits` (z, y, x/8) has eight voxels a byte along x."""

    grid: Grid
    bits: NDArray[np.uint8]
    from_image: Stack = field(default_factory=Stack)

    @classmethod
    def of(cls, found: Bools, grid: Grid) -> FoundMask:
        """Return the mask of these voxels (z, y, x)."""
        return cls(grid, np.packbits(found, axis=-1))

    def read(self, region: Region) -> Bools:
        """Return which voxels (z, y, x) in `region` count."""
        z, y, x = region.slices
        found: Bools = np.unpackbits(self.bits[z, y], axis=-1, count=self.grid.shape[2])[..., x].astype(bool)
        return found

    def digest(self) -> list[object]:
        """Return a hash of the voxels, and their position."""
        return [hashlib.blake2b(self.bits.tobytes(), digest_size=16).hexdigest(), _lies(self.grid)]


def read_mask(mask: Mask, grid: Grid, region: Region) -> Bools:
    """Return which voxels (z, y, x) of a region of an image's grid count."""
    where = needed_region(mask.from_image, grid, region, mask.grid, "nearest")
    if where.size == 0:
        return np.zeros(region.shape, dtype=bool)
    counts: Bools = warp(
        mask.read(where).view(np.uint8),
        mask.grid,
        grid=grid,
        region=region,
        transform=mask.from_image,
        moving_region=where,
        interpolation="nearest",
    ).astype(bool)
    return counts


def masks_out(mask: Mask, grid: Grid, region: Region) -> bool:
    """Return whether no voxel of a region of an image's grid counts."""
    return not read_mask(mask, grid, region).any()


def open_mask(
    role: str,
    uri: str,
    labels: Sequence[int] | None,
    volume: Volume,
    *,
    channel: int,
    timepoint: int,
    overview: OverviewSize = _OVERVIEW,
) -> Mask:
    """Return the mask of a volume, from a command's --ROLE-mask and --ROLE-mask-labels.

    "auto" finds the tissue in an `overview` of the volume's own channel. A mask without a voxel size covers the field
    of view of the volume. Raises InputError when the mask cannot be opened, or none of its voxels counts.
    """
    option = f"--{role}-mask"
    if uri == FIND_MASK:
        if labels is not None:
            raise InputError(f"{option} auto has no labels; leave out {option}-labels, or name a label volume.")
        return _find_mask(option, volume, channel, timepoint, overview)
    stored, grid, from_image = _open(option, uri, volume)
    mask = StoredMask(stored, grid, None if labels is None else tuple(sorted(set(labels))), from_image)
    if not _counts_somewhere(mask):
        wanted = "is above 0" if labels is None else f"is labelled {' or '.join(map(str, labels))}"
        raise InputError(
            f"{option} {uri}: no voxel of the mask {wanted}, so all of {volume.uri} is masked out; check the mask."
        )
    return mask


def _find_mask(option: str, volume: Volume, channel: int, timepoint: int, size: OverviewSize) -> FoundMask:
    overview = read_overview(volume, channel=channel, timepoint=timepoint, size=size)
    if any(n * 0.9 > m for n, m in zip(volume.grid.extent, overview.grid.extent, strict=True)):
        raise InputError(
            f"{option} auto: {volume.uri} is too large to search for tissue, and has no coarser scale; "
            "add scales with build-pyramid, or name a mask."
        )
    image = Image(overview.array, overview.grid).finite().without_padding()
    found = find_foreground(image, margin=TISSUE_MARGIN)
    log.info("%s auto: %.1f %% of %s show tissue", option, 100 * found.mean(), volume.uri)
    found = np.pad(found, (0, _BEYOND), mode="edge")
    return FoundMask.of(found, Grid(found.shape, overview.grid.spacing, overview.grid.origin))


def _open(option: str, uri: str, volume: Volume) -> tuple[Volume, Grid, Stack]:
    """Open a mask, and return it with the grid of its voxels and the map from the image's axes to its own.

    The grid is that of the mask's metadata, and its expansion that of `volume`; without a voxel size, it is stretched
    over the field of view of `volume`, along the same axes.
    """
    grid = volume.grid
    try:
        mask = open_volume(absolute_uri(uri), expansion=volume.expansion)
    except InputError:
        mask = open_volume(absolute_uri(uri), spacing=grid.spacing, option=option)
        scale = [m / n for m, n in zip(grid.shape, mask.grid.shape, strict=True)]
        first = as_float_triple(grid.to_physical([s / 2 - 0.5 for s in scale]))
        spacing = as_float_triple(d * s for d, s in zip(grid.spacing, scale, strict=True))
        return mask, Grid(mask.grid.shape, spacing, first), Stack()
    if not agree(mask.direction, volume.direction):
        log.warning(
            "%s %s has axes of another direction than %s; both lie where their files put them",
            option,
            uri,
            volume.uri,
        )
    return mask, mask.grid, along_axes(Stack(), volume.direction, mask.direction)


def _counting(values: NDArray[Any], labels: tuple[int, ...] | None) -> Bools:
    if labels is None:
        above: Bools = values > 0
        return above
    if values.dtype.kind in "iu":  # in their own type: 2⁶³ and 2⁶³ + 1 are one float
        limits = np.iinfo(values.dtype)
        wanted = np.array([v for v in labels if limits.min <= v <= limits.max], dtype=values.dtype)
    else:
        wanted = np.array(labels, dtype=np.float64)
    # numpy 2.0 looks up integers in a table of their range, and that range may not fit 64 bits.
    among: Bools = np.isin(values, wanted, kind="sort" if values.dtype.itemsize == 8 else None)
    return among


def _counts_somewhere(mask: StoredMask) -> bool:
    """Return whether any voxel counts; looks in the coarsest scale first, where one voxel is mostly found at once."""
    levels = coarser_levels(mask.volume)
    coarsest = [levels[max(levels, key=math.prod)]] if levels else []
    for volume in (*coarsest, mask.volume):
        step = as_triple(-(-_SCANNED // c) * c for c in volume.chunk_shape)
        if any(_counting(volume.read(part), mask.labels).any() for part in volume.grid.region.split(step)):
            return True
    return False


def _lies(grid: Grid) -> list[object]:
    return [grid.shape, grid.spacing, grid.origin]
