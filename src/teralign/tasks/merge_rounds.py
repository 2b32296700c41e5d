"""`merge-rounds`: one volume with the channels of several rounds, as the fixed one sees them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

import teralign
from teralign.cluster import Compute, worker_threads
from teralign.errors import InputError
from teralign.filling import DestinationOptions, Filled, Filling, Part, choose_destination, fill, plan_fill
from teralign.grids import Region
from teralign.plans import Plan
from teralign.provenance import own_name
from teralign.tasks.rounds_table import AlignedRound, read_rounds
from teralign.transforms import FIELD_CACHE_BYTES, cast
from teralign.transforms.warped_volume import Resampler
from teralign.volumes import DisplaySettings, Volume, compare_orientations, with_directions

_VOXEL_SECONDS = 0.07e-6  # as of apply-transform


class MergeOptions(DestinationOptions, total=False):
    """Options of `merge_rounds`; `interpolation` is linear, nearest or cubic."""

    interpolation: str


def merge_rounds(
    table: str | Path,
    output: str | Path,
    *,
    compute: Compute = Compute(),
    **options: Unpack[MergeOptions],
) -> Filled:
    """Write all channels of all rounds of a table (`rounds_table`) as one volume on the grid of their fixed volume.

    The channels of the fixed volume come first, then those of each row, named after their row. Voxels have the type
    that holds all of them. Moving volumes are warped while they are read: no warped volume is needed.

    Raises InputError for bad input, before any long work: rows of several fixed volumes, or timepoints.
    """
    return fill(_filling(table, output, compute.threads, options), compute)


def plan_merge_rounds(
    table: str | Path,
    output: str | Path,
    *,
    compute: Compute = Compute(),
    **options: Unpack[MergeOptions],
) -> Plan:
    """Return the plan of `merge_rounds` with the same arguments; writes nothing."""
    return plan_fill(_filling(table, output, compute.threads, options), compute.capacity())


def _filling(table: str | Path, output: str | Path, threads: int | None, options: MergeOptions) -> Filling:
    """Return the volume to make, after all checks of the input."""
    rounds = read_rounds(table)
    fixed = _fixed(table, rounds)
    interpolation = options.get("interpolation", "linear")
    resamplers = [_resampler(fixed, one, interpolation) for one in rounds]
    volumes = [fixed, *(resampler.source for resampler in resamplers)]
    for volume in volumes:
        if volume.timepoints > 1:
            raise InputError(f"{volume.uri} has {volume.timepoints} timepoints; rounds to merge have one.")
    dtype = np.result_type(*(volume.dtype for volume in volumes))
    destination = choose_destination(output, options, grid=fixed.grid)
    layout = destination.layout(
        grid=fixed.grid,
        dtype=dtype,
        channels=sum(volume.channels for volume in volumes),
        channel_names=_channel_names(fixed, rounds, resamplers),
        display=_display(volumes, dtype),
        label=interpolation == "nearest",
        ome_zarr=options.get("ome_zarr"),
    )
    layout = with_directions(layout, destination.uri, fixed.directions)
    key = {
        "task": "merge-rounds",
        "version": teralign.__version__,
        "volumes": [volume.digest() for volume in volumes],
        "transforms": [resampler.transform.digest() for resampler in resamplers],
        "interpolation": interpolation,
    }
    return Filling(destination, Merger(fixed, resamplers, dtype, threads), layout, "merge", key)


def _fixed(table: str | Path, rounds: Sequence[AlignedRound]) -> Volume:
    """Open the fixed volume of all rounds. Raises InputError where they have several."""
    uris = sorted({one.fixed.uri for one in rounds})
    if len(uris) > 1:
        raise InputError(f"the rounds of {table} have several fixed volumes ({', '.join(uris)}); merge those of one.")
    return rounds[0].fixed.open("fixed")


def _resampler(fixed: Volume, one: AlignedRound, interpolation: str) -> Resampler:
    moving = one.moving.open("moving")
    compare_orientations(fixed.uri, fixed.directions, moving.uri, moving.directions)
    return Resampler.between(fixed, moving, one.load(), interpolation)


def _channel_names(fixed: Volume, rounds: Sequence[AlignedRound], resamplers: Sequence[Resampler]) -> list[str]:
    """Return a name for each channel, with that of its round; a round of one channel is its name."""
    parts = re.split(r"\.(?:zarr|n5|ome\.tiff?|tiff?|nrrd|h5|ims)\b", own_name(fixed.uri), maxsplit=1)
    named = [(Path(parts[0]).name, fixed)]
    named += [(one.id, resampler.source) for one, resampler in zip(rounds, resamplers, strict=True)]
    return [
        name if volume.channels == 1 else f"{name} {channel}"
        for name, volume in named
        for channel in volume.channel_names
    ]


def _display(volumes: Sequence[Volume], dtype: np.dtype[Any]) -> list[DisplaySettings]:
    """Return the display settings of all channels; windows of another data type are left to the voxels."""
    return [
        settings if volume.dtype == dtype else replace(settings, window=None)
        for volume in volumes
        for settings in volume.display
    ]


@dataclass(frozen=True)
class Merger:
    """Makes any write unit: the fixed channels as they are, the moving ones warped; picklable."""

    fixed: Volume
    resamplers: Sequence[Resampler]
    dtype: np.dtype[Any]
    threads: int | None

    def part(self, core: Region) -> Part:
        """Return how to make a unit."""
        return Part(core, core, partial(self._merge, core))

    @property
    def voxel_bytes(self) -> int:
        """The bytes of a voxel in all channels of all volumes."""
        volumes = [self.fixed, *(resampler.source for resampler in self.resamplers)]
        return sum(volume.dtype.itemsize * volume.channels for volume in volumes)

    @property
    def voxel_seconds(self) -> float:
        """The CPU time of a voxel in one channel."""
        return _VOXEL_SECONDS

    @property
    def hint(self) -> str:
        """None: only the channels of one round are in memory together."""
        return ""

    def part_bytes(self, part: Part) -> int:
        """Return the bytes of the channels of one round, as read, about twice the unit, and as warped."""
        most = max(r.source.dtype.itemsize * r.source.channels for r in self.resamplers)
        return part.core.size * (3 * most + self.dtype.itemsize) + FIELD_CACHE_BYTES

    def _merge(self, core: Region, _timepoint: int) -> Iterator[NDArray[Any]]:
        """Yield the channels (z, y, x) of a unit, with those of one round in memory at a time."""
        for channel in range(self.fixed.channels):
            yield cast(self.fixed.read(core, channel=channel), self.dtype)
        for resampler in self.resamplers:
            channels = range(resampler.source.channels)
            needed = resampler.needed(core)
            threads = self.threads or worker_threads()
            warped = None if needed is None else resampler.warp(core, needed, channels, 0, threads=threads)
            for channel in channels:
                yield np.zeros(core.shape, self.dtype) if warped is None else cast(warped[channel], self.dtype)
