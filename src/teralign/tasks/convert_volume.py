"""`convert-volume`: write any readable volume, or a part of it, in any writable format."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

import teralign
from teralign.addresses import absolute_uri
from teralign.cluster import Compute
from teralign.errors import InputError
from teralign.filling import DestinationOptions, Filled, Filling, Part, choose_destination, fill, plan_fill
from teralign.grids import FloatTriple, Range, Region, Triple, as_triple, reverse_axes
from teralign.plans import Plan
from teralign.transforms import cast
from teralign.volumes import (
    Chunking,
    DisplaySettings,
    Volume,
    check_channel,
    check_timepoint,
    open_volume,
    with_directions,
)

log = logging.getLogger(__name__)

_VOXEL_SECONDS = 0.042e-6  # CPU time from N5 to OME-Zarr with all levels, uint16, tissue


class ConvertOptions(DestinationOptions, total=False):
    """Options of `convert_volume`.

    `channel` and `timepoint` are all by default. `crop` (z, y, x) has the first voxel of each axis and the one after
    the last, None for the volume's own. `spacing` (z, y, x) in µm overrides the metadata. Values are rounded and
    saturated to `dtype`. `chunk_size` is (z, y, x) voxels, `levels` the maximum number of scales. `label` takes the
    most frequent value instead of the mean.
    """

    channel: int | None
    timepoint: int | None
    crop: tuple[Range, Range, Range] | None
    spacing: FloatTriple | None
    dtype: str | None
    chunk_size: Triple | None
    levels: int | None
    label: bool


def convert_volume(
    volume: str | Path,
    output: str | Path | None = None,
    *,
    compute: Compute = Compute(),
    **options: Unpack[ConvertOptions],
) -> Filled:
    """Write every channel and timepoint of a volume, or a part of it, in the format of `output`'s ending.

    A cropped part keeps its position in space. The same call continues unfinished work, in `compute.work_dir`.

    Raises InputError for bad input, before any long work.
    """
    return fill(_filling(str(volume), output, options), compute)


def plan_convert_volume(
    volume: str | Path,
    output: str | Path | None = None,
    *,
    compute: Compute = Compute(),
    **options: Unpack[ConvertOptions],
) -> Plan:
    """Return the plan of `convert_volume` with the same arguments; writes nothing."""
    return plan_fill(_filling(str(volume), output, options), compute.capacity())


def _filling(volume: str, output: str | Path | None, options: ConvertOptions) -> Filling:
    """Return the volume to make, after all checks of the input."""
    source = open_volume(absolute_uri(volume), spacing=options.get("spacing"))
    channel, timepoint = options.get("channel"), options.get("timepoint")
    chunk_size, levels, label = options.get("chunk_size"), options.get("levels"), options.get("label", False)
    channels = range(source.channels) if channel is None else (channel,)
    timepoints = range(source.timepoints) if timepoint is None else (timepoint,)
    check_channel("", source, max(channels))
    check_timepoint("", source, max(timepoints))
    region = _cropped(source, options.get("crop"))
    grid = source.grid.crop(region)
    wanted = np.dtype(options.get("dtype") or source.dtype)
    key = {
        "task": "convert-volume",
        "version": teralign.__version__,
        "volume": source.digest(),
        "grid": [grid.shape, grid.spacing, grid.origin],
        "channels": list(channels),
        "timepoints": list(timepoints),
        "dtype": wanted.name,
        "chunk_size": chunk_size,
        "levels": levels,
        "label": label,
    }
    destination = choose_destination(output, options, grid=grid)
    layout = destination.layout(
        grid=grid,
        dtype=wanted,
        channels=len(channels),
        timepoints=len(timepoints),
        channel_names=[source.channel_names[c] for c in channels],
        display=_display_settings(source, channels, wanted),
        time_step=source.time_step,
        chunking=Chunking(chunk_size),
        levels=levels,
        label=label,
        ome_zarr=options.get("ome_zarr"),
    )
    if destination.replaces(source.uri):
        raise InputError(f"{destination.uri} lies in the volume that is converted; choose another output.")
    layout = with_directions(layout, destination.uri, source.directions)
    copier = Copier(source, channels, timepoints, region, wanted)
    return Filling(destination, copier, layout, "convert", key)


@dataclass(frozen=True)
class Copier:
    """Reads any write unit of the output, all channels at a timepoint; picklable."""

    source: Volume
    channels: Sequence[int]
    timepoints: Sequence[int]
    region: Region
    dtype: np.dtype[Any]

    def part(self, core: Region) -> Part:
        """Return how to copy a unit: its voxels are those of the source."""
        needed = core.shift(self.region.start)
        return Part(core, needed, partial(self._read, needed))

    @property
    def voxel_bytes(self) -> int:
        """The bytes of a voxel in all channels."""
        return self.source.dtype.itemsize * len(self.channels)

    @property
    def voxel_seconds(self) -> float:
        """The CPU time of a voxel in one channel."""
        return _VOXEL_SECONDS

    @property
    def hint(self) -> str:
        """Smaller chunks, of which blocks consist."""
        return "smaller chunks (--chunk-size)"

    def part_bytes(self, part: Part) -> int:
        """Return the bytes of a channel, as read and as written."""
        return part.needed.size * (self.source.dtype.itemsize + self.dtype.itemsize)

    def _read(self, needed: Region, timepoint: int) -> Iterator[NDArray[Any]] | None:
        """Return the channels one by one, with one in memory at a time; None when none of them is stored here."""
        time = self.timepoints[timepoint]
        if all(self.source.is_blank(needed, channel=c, timepoint=time) for c in self.channels):
            return None
        return (cast(self.source.read(needed, channel=c, timepoint=time), self.dtype) for c in self.channels)


def _display_settings(source: Volume, channels: Sequence[int], dtype: np.dtype[Any]) -> list[DisplaySettings]:
    """Return the display settings of the channels, without their windows where the data type changes."""
    display = [source.display[c] for c in channels]
    return display if dtype == source.dtype else [replace(settings, window=None) for settings in display]


def _cropped(volume: Volume, crop: tuple[Range, Range, Range] | None) -> Region:
    """Return the region of the voxels to keep. Raises InputError when it is empty or reaches outside the volume."""
    whole = volume.grid.region
    if crop is None:
        return whole
    start = as_triple(a or 0 for a, _ in crop)
    stop = as_triple(n if b is None else b for (_, b), n in zip(crop, whole.shape, strict=True))
    region = Region(start, stop)
    if region.size == 0 or region.intersect(whole) != region:
        asked = ",".join(f"{a}:{b}" for a, b in reverse_axes(list(zip(start, stop, strict=True))))
        x, y, z = reverse_axes(whole.shape)
        raise InputError(f"--crop {asked} is not inside {volume.uri}, which has {x} x {y} x {z} voxels (x, y, z).")
    return region
