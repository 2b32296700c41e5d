"""`convert-volume`: any volume that can be read, or a part of it, in any format that can be written."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import teralign
from teralign.addresses import absolute_uri
from teralign.cluster import Compute
from teralign.errors import InputError
from teralign.filling import Part, fill_or_plan
from teralign.grids import FloatTriple, Region, Triple, as_triple, reverse_axes
from teralign.transforms import cast
from teralign.volumes import (
    DisplaySettings,
    Volume,
    check_channel,
    check_timepoint,
    open_volume,
    plan_volume,
    split_uri,
)

log = logging.getLogger(__name__)

_VOXEL_SECONDS = 0.042e-6  # CPU time from N5 to OME-Zarr with all levels, uint16, tissue

Range = tuple[int | None, int | None]


def convert_volume(
    volume: str,
    output: str,
    *,
    channel: int | None = None,
    timepoint: int | None = None,
    crop: tuple[Range, Range, Range] | None = None,
    spacing: FloatTriple | None = None,
    dtype: str | None = None,
    chunk_size: Triple | None = None,
    levels: int | None = None,
    label: bool = False,
    ome_zarr: str | None = None,
    scheduler: str | None = None,
    workers: int | None = None,
    worker_cpus: int | None = None,
    worker_mem_gb: float | None = None,
    work_dir: Path | None = None,
    dry_run: bool = False,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Write every channel and timepoint of a volume, or one of them, in the format of `output`'s ending.

    `crop` (z, y, x) has for each axis the first voxel and the one after the last, None for the volume's own; what is
    left stays where it is in space. `dtype` values are rounded and saturated, `label` voxels are never averaged;
    `ome_zarr` is the version of a .zarr (None: 0.5). The output lies in `work_dir` until it is whole, so that the
    same call goes on where another stopped.

    Returns what was written, with `dry_run` what would be. Raises InputError before any long work for bad input.
    """
    source = open_volume(absolute_uri(volume), spacing=spacing)
    channels = range(source.channels) if channel is None else (channel,)
    timepoints = range(source.timepoints) if timepoint is None else (timepoint,)
    check_channel("", source, max(channels))
    check_timepoint("", source, max(timepoints))
    region = _cropped(source, crop)
    grid = source.grid.crop(region)
    wanted = np.dtype(dtype or source.dtype)
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
    layout = plan_volume(
        output,
        grid=grid,
        dtype=wanted,
        channels=len(channels),
        timepoints=len(timepoints),
        channel_names=[source.channel_names[c] for c in channels],
        display=_display_settings(source, channels, wanted),
        time_step=source.time_step,
        chunk_shape=chunk_size,
        levels=levels,
        label=label,
        ome_zarr=ome_zarr,
    )
    if split_uri(output)[0].resolve() == split_uri(source.uri)[0].resolve():
        raise InputError(f"{output} lies in the volume that is converted; choose another output.")
    copier = Copier(source, channels, timepoints, region, wanted)
    compute = Compute(scheduler, workers, worker_cpus, worker_mem_gb)
    return fill_or_plan(
        output,
        copier,
        stage="convert",
        key=key,
        layout=layout,
        connect=compute.connect,
        capacity=compute.capacity(),
        work_dir=work_dir,
        dry_run=dry_run,
        overwrite=overwrite,
    )


@dataclass(frozen=True)
class Copier:
    """Reads any write unit of the output, all channels at a timepoint; picklable."""

    source: Volume
    channels: Sequence[int]
    timepoints: Sequence[int]
    region: Region
    dtype: np.dtype[Any]

    def part(self, core: Region) -> Part:
        """The voxels of a unit, which are as many of the source."""
        needed = core.shift(self.region.start)
        return Part(core, needed, partial(self._read, needed))

    @property
    def voxel_bytes(self) -> int:
        """What a voxel takes in all channels."""
        return self.source.dtype.itemsize * len(self.channels)

    @property
    def voxel_seconds(self) -> float:
        """The CPU time of a voxel in one channel."""
        return _VOXEL_SECONDS

    @property
    def remedy(self) -> str:
        """Blocks are made of chunks."""
        return "smaller chunks (--chunk-size)"

    def held(self, part: Part) -> int:
        """The bytes of a channel as it is read, and as it is written."""
        return part.needed.size * (self.source.dtype.itemsize + self.dtype.itemsize)

    def _read(self, needed: Region, timepoint: int) -> Iterator[NDArray[Any]] | None:
        """The channels one by one, so that no more than one is in memory; None when nothing of them is stored."""
        time = self.timepoints[timepoint]
        if all(self.source.is_blank(needed, channel=c, timepoint=time) for c in self.channels):
            return None
        return (cast(self.source.read(needed, channel=c, timepoint=time), self.dtype) for c in self.channels)


def _display_settings(source: Volume, channels: Sequence[int], dtype: np.dtype[Any]) -> list[DisplaySettings]:
    """How the channels are shown; a window of values of another type says nothing of these."""
    display = [source.display[c] for c in channels]
    return display if dtype == source.dtype else [replace(settings, window=None) for settings in display]


def _cropped(volume: Volume, crop: tuple[Range, Range, Range] | None) -> Region:
    """The region of the voxels to keep. Raises InputError when it is empty, or not inside the volume."""
    whole = volume.grid.region
    if crop is None:
        return whole
    start = as_triple(a or 0 for a, _ in crop)
    stop = as_triple(n if b is None else b for (_, b), n in zip(crop, whole.shape, strict=True))
    region = Region(start, stop)
    if region.size == 0 or region.intersect(whole) != region:
        asked = ",".join(f"{a}:{b}" for a, b in reverse_axes(list(zip(start, stop, strict=True))))
        x, y, z = reverse_axes(whole.shape)
        raise InputError(f"--crop {asked} is no part of {volume.uri}, which has {x} x {y} x {z} voxels (x, y, z).")
    return region
