"""`apply-transform`: a volume of any size onto the fixed grid, every channel, with a pyramid."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import teralign
from teralign.blockwise import Workspace, run_blocks
from teralign.cluster import connect, worker_threads
from teralign.grids import FloatTriple, Region
from teralign.tasks.inputs import check_channel, check_timepoint, load_stack
from teralign.tasks.units import WriteUnit, WriteUnits
from teralign.transforms import Stack, needed_region, warp_channels
from teralign.volumes import Volume, VolumeWriter, check_output, create_volume, open_volume, split_uri

if TYPE_CHECKING:
    from distributed import Client

log = logging.getLogger(__name__)


def apply_transform(
    fixed: str,
    moving: str,
    *,
    transforms: Sequence[Path],
    output: str,
    interpolation: str = "linear",
    fixed_spacing: FloatTriple | None = None,
    moving_spacing: FloatTriple | None = None,
    moving_channel: int | None = None,
    moving_timepoint: int | None = None,
    scheduler: str | None = None,
    workers: int | None = None,
    worker_cpus: int | None = None,
    worker_mem_gb: float | None = None,
    work_dir: Path | None = None,
    threads: int | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Resample the moving volume on the grid of the fixed one: every channel and timepoint, or one of them.

    `transforms` are files, outermost first. The output is OME-Zarr or N5 by its ending, with a pyramid; each of its
    write units is made by one task from only the input it needs. It lies in `work_dir` until it is whole, so that the
    same call goes on where another stopped.

    Returns what was written. Raises InputError before any long work for bad input.
    """
    reference = open_volume(Path(fixed).absolute(), spacing=fixed_spacing, option="--fixed-spacing")
    source = open_volume(Path(moving).absolute(), spacing=moving_spacing, option="--moving-spacing")
    channels = range(source.channels) if moving_channel is None else (moving_channel,)
    timepoints = range(source.timepoints) if moving_timepoint is None else (moving_timepoint,)
    check_channel("moving", source, max(channels))
    check_timepoint("moving", source, max(timepoints))
    stack = load_stack(transforms)
    target = check_output(output, overwrite=overwrite).absolute()
    _, dataset = split_uri(output)
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
    with Workspace(work_dir or target.with_name(target.name + ".partial")) as workspace:
        workspace.prepare(key)
        writer = create_volume(
            workspace.output / target.name / dataset,
            grid=reference.grid,
            dtype=source.dtype,
            channels=len(channels),
            timepoints=len(timepoints),
            channel_names=[source.channel_names[c] for c in channels],
            label=interpolation == "nearest",
            resume=True,
        )
        with connect(scheduler, workers, worker_cpus, worker_mem_gb) as client:
            warper = Warper(source, channels, timepoints, stack, writer, interpolation, threads)
            summary = _write(warper, client, workspace)
        workspace.finish(workspace.output / target.name, target, overwrite=overwrite)
    log.info("wrote %s", output)
    return {"output": output, "channels": len(channels), "timepoints": len(timepoints)} | summary


@dataclass(frozen=True)
class Warper:
    """Warps the finest level of the output, all channels and timepoints, and makes the next level from it; picklable.

    A task is what lies under one write unit of the next level, so that no voxel is read again to make that; it goes
    unit by unit, and holds no more than one of either level.
    """

    source: Volume
    channels: Sequence[int]
    timepoints: Sequence[int]
    transform: Stack
    writer: VolumeWriter
    interpolation: str
    threads: int | None

    def __call__(self, family: WriteUnit) -> dict[str, Any]:
        """Read what is needed, warp and write; units with nothing in them are left at 0."""
        parts = [part for core in family.core.split(self.writer.write_shape) if (part := self._part(core))]
        if not parts:
            return {"state": "outside"}
        written = [self._write(family.core, parts, t) for t in range(len(self.timepoints))]
        size = sum(part.needed.size for part in parts)
        return {"state": "ok" if any(written) else "empty", "read": size * len(self.timepoints)}

    def _part(self, core: Region) -> _Part | None:
        """A unit that sees something of the moving volume."""
        grid = self.writer.levels[0]
        box = grid.crop(core)
        transform = self.transform.load(box.origin, box.to_physical(np.array(box.shape) - 1))
        needed = needed_region(transform, grid, core, self.source.grid, self.interpolation)
        return _Part(core, transform, needed) if needed.size else None

    def _write(self, whole: Region, parts: Sequence[_Part], timepoint: int) -> bool:
        """Write the units and what they become at the next level; False when there was nothing in any of them."""
        writer = self.writer
        above = writer.above(whole)
        built = np.zeros((len(self.channels), *above.shape), writer.dtype)
        anything = False
        for part in parts:
            warped = self._warp(part, self.timepoints[timepoint])
            if warped is None:
                continue
            anything = True
            for c, array in enumerate(warped):
                writer.write(part.core, array, channel=c, timepoint=timepoint)
                if above.size:
                    built[c][writer.above(part.core).relative_to(above).slices] = writer.coarsen(array)
        if anything and above.size:
            for c, array in enumerate(built):
                writer.write(above, array, level=1, channel=c, timepoint=timepoint)
        return anything

    def _warp(self, part: _Part, timepoint: int) -> NDArray[Any] | None:
        """The channels (c, z, y, x) of a unit; None when all that it sees is 0."""
        arrays = [self.source.read(part.needed, channel=c, timepoint=timepoint) for c in self.channels]
        if not any(a.any() for a in arrays):
            return None
        return warp_channels(
            arrays,
            self.source.grid,
            grid=self.writer.levels[0],
            region=part.core,
            transform=part.transform,
            moving_region=part.needed,
            interpolation=self.interpolation,
            threads=self.threads or worker_threads(),
        )


@dataclass(frozen=True)
class _Part:
    """A write unit: its voxels, the transform around it, and the moving voxels that it needs."""

    core: Region
    transform: Stack
    needed: Region


@dataclass(frozen=True)
class LevelBuilder:
    """Makes any write unit of a coarser level of the pyramid from the level before; picklable."""

    writer: VolumeWriter
    level: int
    channels: int
    timepoints: int

    def __call__(self, unit: WriteUnit) -> dict[str, Any]:
        """Build one unit."""
        for timepoint in range(self.timepoints):
            for channel in range(self.channels):
                self.writer.build_level_region(self.level, unit.core, channel=channel, timepoint=timepoint)
        return {"state": "ok"}


def _write(warper: Warper, client: Client, workspace: Workspace) -> dict[str, Any]:
    """Warp the two finest levels, then build the coarser ones; gives what became of the tasks of the first."""
    writer = warper.writer
    units = WriteUnits(writer.levels[0].shape, writer.family_shape)
    summary = run_blocks(warper, units, client=client, workspace=workspace, stage="warp")
    for level in range(2, len(writer.levels)):
        builder = LevelBuilder(writer, level, len(warper.channels), len(warper.timepoints))
        units = WriteUnits(writer.levels[level].shape, writer.write_shape)
        run_blocks(builder, units, client=client, workspace=workspace, stage=f"level-{level}")
    states = Counter(r["state"] for r in workspace.records("warp"))
    return {"units": summary.total, "resumed": summary.resumed, "states": dict(sorted(states.items()))}
