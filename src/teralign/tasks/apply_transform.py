"""`apply-transform`: warp a volume of any size onto the fixed grid, all channels, with a pyramid."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Required, Unpack

from numpy.typing import NDArray

import teralign
from teralign.alignment import Side
from teralign.cluster import Compute, worker_threads
from teralign.errors import InputError
from teralign.filling import DestinationOptions, Filled, Filling, Part, choose_destination, fill, plan_fill
from teralign.grids import Region
from teralign.plans import Plan
from teralign.report import looks_like_labels
from teralign.transforms import FIELD_CACHE_BYTES, Needed, Resampler, load_stack
from teralign.volumes import Volume, check_channel, check_timepoint, compare_orientations, with_directions

log = logging.getLogger(__name__)

# CPU time of a voxel: demo data of 1024×512×512 voxels of uint16 under an affine and a field took 0.07 µs, read,
# written and with all levels; nearest and cubic differ by what the kernel alone takes, 0.014 and 0.053 for 0.027.
_VOXEL_SECONDS = {"linear": 0.07e-6, "nearest": 0.06e-6, "cubic": 0.10e-6}


class WarpOptions(DestinationOptions, total=False):
    """Options of `apply_transform`; `channels` and `timepoint` of the moving volume are all by default.

    `interpolation` is linear, nearest or cubic.
    """

    interpolation: str
    channels: Sequence[int] | None
    timepoint: int | None


class WarpArguments(WarpOptions):
    """The keyword arguments of `apply_transform` besides `compute`."""

    transforms: Required[Sequence[str | Path]]
    output: str | Path | None


def apply_transform(
    fixed: str | Path | Side,
    moving: str | Path | Side,
    *,
    transforms: Sequence[str | Path],
    output: str | Path | None = None,
    compute: Compute = Compute(),
    **options: Unpack[WarpOptions],
) -> Filled:
    """Resample the moving volume on the grid of the fixed one: all its channels and timepoints, with a pyramid.

    `transforms` are files, outermost first; together they map fixed to moving points. Of a `Side`, its URI,
    spacing and expansion are used. The output is `output`, whose format follows from its ending, or an image or slot
    `into` a container (`DestinationOptions`). Each of its write units is made by one task, which reads only the input
    that it needs. The same call continues unfinished work, in `compute.work_dir`.

    Raises InputError for bad input, before any long work.
    """
    filling = _filling(fixed, moving, threads=compute.threads, transforms=transforms, output=output, options=options)
    return fill(filling, compute)


def plan_apply_transform(
    fixed: str | Path | Side,
    moving: str | Path | Side,
    *,
    compute: Compute = Compute(),
    **arguments: Unpack[WarpArguments],
) -> Plan:
    """Return the plan of `apply_transform` with the same arguments; writes nothing."""
    filling = _filling(
        fixed,
        moving,
        threads=compute.threads,
        transforms=arguments["transforms"],
        output=arguments.get("output"),
        options=arguments,
    )
    return plan_fill(filling, compute.capacity())


def _filling(
    fixed: str | Path | Side,
    moving: str | Path | Side,
    *,
    threads: int | None,
    transforms: Sequence[str | Path],
    output: str | Path | None,
    options: WarpOptions,
) -> Filling:
    """Return the volume to make, after all checks of the input."""
    reference, source = _open("fixed", fixed), _open("moving", moving)
    compare_orientations(reference.uri, reference.directions, source.uri, source.directions)
    interpolation = options.get("interpolation", "linear")
    selected, timepoint = options.get("channels"), options.get("timepoint")
    channels = range(source.channels) if selected is None else tuple(selected)
    timepoints = range(source.timepoints) if timepoint is None else (timepoint,)
    check_channel("moving", source, max(channels))
    check_timepoint("moving", source, max(timepoints))
    resampler = Resampler.between(reference, source, load_stack(transforms), interpolation)
    if interpolation != "nearest":
        _warn_of_labels(source, channels, timepoints[0])
    key = {
        "task": "apply-transform",
        "version": teralign.__version__,
        "grid": [reference.grid.shape, reference.grid.spacing, reference.grid.origin],
        "moving": [source.digest(), source.grid.spacing, source.grid.origin],
        "channels": list(channels),
        "timepoints": list(timepoints),
        "transforms": resampler.transform.digest(),
        "interpolation": interpolation,
    }
    destination = choose_destination(output, options, grid=reference.grid)
    layout = destination.layout(
        grid=reference.grid,
        dtype=source.dtype,
        channels=len(channels),
        timepoints=len(timepoints),
        channel_names=[source.channel_names[c] for c in channels],
        display=[source.display[c] for c in channels],
        time_step=source.time_step,
        label=interpolation == "nearest",
        ome_zarr=options.get("ome_zarr"),
    )
    layout = with_directions(layout, destination.uri, reference.directions)
    warper = Warper(resampler, channels, timepoints, threads)
    return Filling(destination, warper, layout, "warp", key)


def _open(role: str, image: str | Path | Side) -> Volume:
    """Open a volume. Raises InputError for a Side with a channel, timepoint, mask or box, which would be ignored."""
    side = Side.of(image)
    if side != Side(side.uri, side.spacing, expansion=side.expansion):
        raise InputError(
            f"of the {role} volume only the URI, the spacing and the expansion are used; give channels as an option."
        )
    return side.open(role)


def _warn_of_labels(volume: Volume, channels: Sequence[int], timepoint: int) -> None:
    labels = [c for c in channels if looks_like_labels(volume, channel=c, timepoint=timepoint)]
    if labels:
        named = f" (channel {', '.join(map(str, labels))})" if volume.channels > 1 else ""
        log.warning(
            "%s%s looks like labels, whose values interpolation mixes; if so, use --interpolation nearest",
            volume.uri,
            named,
        )


@dataclass(frozen=True)
class Warper:
    """Warps any write unit of the finest level, all channels at a timepoint; picklable."""

    resampler: Resampler
    channels: Sequence[int]
    timepoints: Sequence[int]
    threads: int | None

    def part(self, core: Region) -> Part | None:
        """Return how to make a unit, None when it lies outside the moving volume."""
        needed = self.resampler.needed(core)
        return None if needed is None else Part(core, needed.region, partial(self._warp, core, needed))

    @property
    def voxel_bytes(self) -> int:
        """The bytes of a voxel of the moving volume in all channels."""
        return self.resampler.source.dtype.itemsize * len(self.channels)

    @property
    def voxel_seconds(self) -> float:
        """The CPU time of a voxel in one channel."""
        return _VOXEL_SECONDS[self.resampler.interpolation]

    @property
    def hint(self) -> str:
        """Fewer channels: all channels of a block are in memory together, and the fixed grid sets its size."""
        return "one channel at a time (--moving-channel)" if len(self.channels) > 1 else ""

    def part_bytes(self, part: Part) -> int:
        """Return the bytes of all channels, as read and as warped, and of decoded chunks of fields."""
        return (part.needed.size + part.core.size) * self.voxel_bytes + FIELD_CACHE_BYTES

    def _warp(self, core: Region, needed: Needed, timepoint: int) -> NDArray[Any] | None:
        """Return the channels (c, z, y, x) of a unit; None when all voxels that it needs are 0."""
        threads = self.threads or worker_threads()
        return self.resampler.warp(core, needed, self.channels, self.timepoints[timepoint], threads=threads)
