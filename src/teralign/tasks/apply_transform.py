"""`apply-transform`: a volume of any size onto the fixed grid, every channel, with a pyramid."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import teralign
from teralign.addresses import absolute_uri
from teralign.cluster import Compute, worker_threads
from teralign.filling import Part, fill_or_plan
from teralign.grids import FloatTriple, Grid, Region
from teralign.transforms import FIELD_CACHE_BYTES, Stack, load_stack, needed_region, warp_channels
from teralign.volumes import Volume, check_channel, check_timepoint, open_volume, plan_volume

log = logging.getLogger(__name__)

# CPU time of a voxel: demo data of 1024×512×512 voxels of uint16 under an affine and a field took 0.07 µs, read,
# written and with all levels; nearest and cubic differ by what the kernel alone takes, 0.014 and 0.053 for 0.027.
_VOXEL_SECONDS = {"linear": 0.07e-6, "nearest": 0.06e-6, "cubic": 0.10e-6}


def apply_transform(
    fixed: str,
    moving: str,
    *,
    transforms: Sequence[Path],
    output: str,
    interpolation: str = "linear",
    fixed_spacing: FloatTriple | None = None,
    moving_spacing: FloatTriple | None = None,
    moving_channels: Sequence[int] | None = None,
    moving_timepoint: int | None = None,
    ome_zarr: str | None = None,
    scheduler: str | None = None,
    workers: int | None = None,
    worker_cpus: int | None = None,
    worker_mem_gb: float | None = None,
    work_dir: Path | None = None,
    threads: int | None = None,
    dry_run: bool = False,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Resample the moving volume on the grid of the fixed one: every channel and timepoint, unless told which.

    `transforms` are files, outermost first. The output's format is that of its ending, for a .zarr of version
    `ome_zarr` (None: 0.5); each of its write units is made by one task from only the input it needs. It lies in
    `work_dir` until it is whole, so that the same call goes on where another stopped.

    Returns what was written, with `dry_run` what would be. Raises InputError before any long work for bad input.
    """
    reference = open_volume(absolute_uri(fixed), spacing=fixed_spacing, option="--fixed-spacing")
    source = open_volume(absolute_uri(moving), spacing=moving_spacing, option="--moving-spacing")
    channels = range(source.channels) if moving_channels is None else tuple(moving_channels)
    timepoints = range(source.timepoints) if moving_timepoint is None else (moving_timepoint,)
    check_channel("moving", source, max(channels))
    check_timepoint("moving", source, max(timepoints))
    stack = load_stack(transforms)
    key = {
        "task": "apply-transform",
        "version": teralign.__version__,
        "grid": [reference.grid.shape, reference.grid.spacing, reference.grid.origin],
        "moving": [source.digest(), source.grid.spacing, source.grid.origin],
        "channels": list(channels),
        "timepoints": list(timepoints),
        "transforms": stack.digest(),
        "interpolation": interpolation,
    }
    layout = plan_volume(
        output,
        grid=reference.grid,
        dtype=source.dtype,
        channels=len(channels),
        timepoints=len(timepoints),
        channel_names=[source.channel_names[c] for c in channels],
        display=[source.display[c] for c in channels],
        time_step=source.time_step,
        label=interpolation == "nearest",
        ome_zarr=ome_zarr,
    )
    warper = Warper(source, channels, timepoints, stack, reference.grid, interpolation, threads)
    compute = Compute(scheduler, workers, worker_cpus, worker_mem_gb)
    return fill_or_plan(
        output,
        warper,
        stage="warp",
        key=key,
        layout=layout,
        connect=compute.connect,
        capacity=compute.capacity(),
        work_dir=work_dir,
        dry_run=dry_run,
        overwrite=overwrite,
    )


@dataclass(frozen=True)
class Warper:
    """Warps any write unit of the finest level, all channels at a timepoint; picklable."""

    source: Volume
    channels: Sequence[int]
    timepoints: Sequence[int]
    transform: Stack
    grid: Grid
    interpolation: str
    threads: int | None

    def part(self, core: Region) -> Part | None:
        """How a unit is made, None when it sees nothing of the moving volume."""
        box = self.grid.crop(core)
        transform = self.transform.load(box.origin, box.to_physical(np.array(box.shape) - 1))
        needed = needed_region(transform, self.grid, core, self.source.grid, self.interpolation)
        return Part(core, needed, partial(self._warp, core, transform, needed)) if needed.size else None

    @property
    def voxel_bytes(self) -> int:
        """What a voxel of the moving volume takes in all channels."""
        return self.source.dtype.itemsize * len(self.channels)

    @property
    def voxel_seconds(self) -> float:
        """The CPU time of a voxel in one channel."""
        return _VOXEL_SECONDS[self.interpolation]

    @property
    def remedy(self) -> str:
        """All channels of a block are in memory together; its size follows from the fixed grid."""
        return "one channel at a time (--moving-channel)" if len(self.channels) > 1 else ""

    def held(self, part: Part) -> int:
        """The bytes of all channels, as they are read and as they are warped, and of decoded chunks of fields."""
        return (part.needed.size + part.core.size) * self.voxel_bytes + FIELD_CACHE_BYTES

    def _warp(self, core: Region, transform: Stack, needed: Region, timepoint: int) -> NDArray[Any] | None:
        """The channels (c, z, y, x) of a unit; None when all that it sees is 0."""
        time = self.timepoints[timepoint]
        if all(self.source.is_blank(needed, channel=c, timepoint=time) for c in self.channels):
            return None
        arrays = [self.source.read(needed, channel=c, timepoint=time) for c in self.channels]
        if not any(a.any() for a in arrays):
            return None
        return warp_channels(
            arrays,
            self.source.grid,
            grid=self.grid,
            region=core,
            transform=transform,
            moving_region=needed,
            interpolation=self.interpolation,
            threads=self.threads or worker_threads(),
        )
