"""Images whose planes along z were saved as timepoints or channels, as an ending of the URI tells: `stack.tif:z=t`.

Microscope software and ImageJ macros save a stack of planes as TYX or CYX if they do not know that the planes are z.
Only the user knows, so the URI has an ending for it, which fits every command, every format and the pipeline.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from teralign.addresses import Place
from teralign.errors import InputError
from teralign.grids import Region
from teralign.volumes.description import Description, PixelFiles, Pixels, Voxels

_NAMES: Mapping[str, str] = {"t": "timepoint", "c": "channel"}


@dataclass(frozen=True)
class StackedPixels:
    """The planes of an image along t or c, stacked along z; `axis` is "t" or "c"."""

    pixels: Pixels
    axis: str

    @property
    def places(self) -> Sequence[Place]:
        """The files of the image, or folders with its files."""
        return self.pixels.places if isinstance(self.pixels, PixelFiles) else ()

    def read(self, region: Region, channel: int, timepoint: int) -> Voxels:
        """Read the (z, y, x) voxels of `region`. Raises DataError when they cannot be read."""
        (first, *start), (last, *stop) = region.start, region.stop
        plane = Region((0, start[0], start[1]), (1, stop[0], stop[1]))
        places = ((channel, z) if self.axis == "t" else (z, timepoint) for z in range(first, last))
        return np.concatenate([self.pixels.read(plane, *place) for place in places])


def stack_planes(uri: str, description: Description, axis: str) -> Description:
    """Return the description of an image with its planes along `axis`, "t" or "c", taken for z.

    Raises InputError where it has planes along z already, or too few along the axis.
    """
    _, y, x = description.shape
    count = description.timepoints if axis == "t" else description.channels
    if description.shape[0] > 1:
        raise InputError(f"{uri} has {description.shape[0]} planes along z already; leave out :z={axis}.")
    if count < 2:
        raise InputError(f"{uri} has one {_NAMES[axis]} only, which makes no planes along z; leave out :z={axis}.")
    _, chunk_y, chunk_x = description.chunk_shape
    stacked = replace(
        description,
        pixels=StackedPixels(description.pixels, axis),
        shape=(count, y, x),
        chunk_shape=(1, chunk_y, chunk_x),
        scales=(),
        is_flat=False,
    )
    if axis == "t":
        return replace(stacked, timepoints=1, time_step=None)
    return replace(stacked, channels=1, channel_names=(), display=())


def refuse_flat(uri: str, description: Description) -> InputError:
    """Return the error for an image without a z axis, and how to say that other planes are z."""
    several = {"t": description.timepoints, "c": description.channels}
    axis = next((axis for axis, count in several.items() if count > 1), "")
    if not axis:
        return InputError(f"{uri} is a 2-D image; only 3-D volumes can be aligned: of slices, give the folder.")
    return InputError(
        f"{uri} is a 2-D image with {several[axis]} {_NAMES[axis]}s; only 3-D volumes can be aligned: if these are "
        f"planes along z, name it {uri}:z={axis}."
    )
