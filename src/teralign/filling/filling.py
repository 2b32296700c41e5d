"""A volume written unit by unit: two levels from any source of voxels, each coarser level from the level before.

A task makes a batch: a write unit of the second level, and the units of the finest level that it averages. So
no voxel is read again to make the second level. The record of a task lists the files that it stored; together the
records become the manifest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from teralign.blockwise import BlockRecord, BlockState, RunSummary, Workspace, WriteUnit, WriteUnits, run_blocks
from teralign.filling.destinations import Destination
from teralign.grids import Region, Triple
from teralign.volumes import PyramidLayout, StoredFile, VolumeWriter

if TYPE_CHECKING:
    from distributed import Client


@dataclass(frozen=True)
class Part:
    """A write unit of the finest level: `core`, its voxels, and `needed`, the voxels of the input that it depends on.

    `make` returns the channels (c, z, y, x) at one of the output's timepoints, None when all of them are 0.
    """

    core: Region
    needed: Region
    make: Callable[[int], Iterable[NDArray[Any]] | None]


class VoxelSource(Protocol):
    """The source of the voxels of the finest level, and its costs. Picklable."""

    def part(self, core: Region) -> Part | None:
        """Return the part that makes a write unit, None when the unit is empty."""
        ...

    @property
    def voxel_bytes(self) -> int:
        """The bytes of a voxel of the input, in all channels that are read."""
        ...

    @property
    def voxel_seconds(self) -> float:
        """The CPU time of a voxel of the output in one channel, with its share of the coarser levels."""
        ...

    @property
    def hint(self) -> str:
        """The option with which blocks take less memory, for an error message; empty if there is no such option."""
        ...

    def part_bytes(self, part: Part) -> int:
        """Return the bytes that are in memory at once while a part is made."""
        ...


@dataclass(frozen=True)
class Filling:
    """A volume to make: its place, the source of its voxels and its layout, as the place returns it.

    `stage` names the work in records and the log. `key` is everything the voxels depend on: unfinished work is
    continued only with the same key.
    """

    destination: Destination
    source: VoxelSource
    layout: PyramidLayout
    stage: str
    key: Mapping[str, object]


@dataclass(frozen=True)
class Filled:
    """The volume that was made: its tasks of the finest level, those resumed from earlier work, and their states."""

    output: str
    channels: int
    timepoints: int
    units: int
    resumed: int
    states: Mapping[str, int]


def fill_volume(
    filling: Filling,
    *,
    connect: Callable[[], AbstractContextManager[Client | None]],
    work_dir: str | Path | None,
) -> Filled:
    """Write a volume, which appears when it is whole; the same call continues the unfinished work in `work_dir`.

    The work is done in this process if `connect` returns no client. Raises InputError when the output cannot be
    written.
    """
    layout, destination = filling.layout, filling.destination
    destination.check()
    with destination.workspace(work_dir) as workspace:
        workspace.prepare({**filling.key, **destination.key(), "ome_zarr": layout.ome_zarr})
        writer = destination.create(layout, workspace)
        with connect() as client:
            summary, stages = _write(filling.source, writer, client, workspace, filling.stage)
            states = Counter(record.state for record in workspace.records(filling.stage, BlockRecord))
        destination.publish(writer, stored_files(workspace, stages), workspace)
    return Filled(
        destination.uri,
        layout.channels,
        layout.timepoints,
        units=summary.total,
        resumed=summary.resumed,
        states=dict(sorted(states.items())),
    )


def _write(
    source: VoxelSource, writer: VolumeWriter, client: Client | None, workspace: Workspace, stage: str
) -> tuple[RunSummary, list[str]]:
    """Make the two finest levels, then the coarser ones; returns the summary of the former, and all stages."""
    batches = _own_files(writer, 0, writer.batch_shape)
    if len(writer.levels) > 1:
        _own_files(writer, 1, writer.above(Region.whole(writer.batch_shape)).shape)
    summary = run_blocks(BatchMaker(source, writer), batches, client=client, workspace=workspace, stage=stage)
    stages = [stage, *(s.stage for s in make_levels(writer, range(2, len(writer.levels)), client, workspace))]
    return summary, stages


def make_levels(
    writer: VolumeWriter, levels: Sequence[int], client: Client | None, workspace: Workspace
) -> list[RunSummary]:
    """Make these levels of a pyramid, each from the one before; returns a summary of the blocks of each."""
    return [
        run_blocks(
            LevelMaker(writer, level),
            _own_files(writer, level, writer.write_shape),
            client=client,
            workspace=workspace,
            stage=f"level-{level}",
        )
        for level in levels
    ]


def _own_files(writer: VolumeWriter, level: int, unit: Triple) -> WriteUnits:
    """Return the units of a level, `unit` voxels (z, y, x) each. Raises ValueError if a file had two writers."""
    file, whole = writer.file_shape(level), writer.levels[level].shape
    if any(u < n and u % f for u, f, n in zip(unit, file, whole, strict=True)):  # one unit shares with none
        raise ValueError(f"tasks of {unit} voxels would share files of {file} in level {level} of {writer.uri}")
    return WriteUnits(whole, unit)


def stored_files(workspace: Workspace, stages: Sequence[str]) -> Iterator[StoredFile]:
    """Yield the files that the tasks of these stages have stored."""
    for stage in stages:
        for record in workspace.records(stage, StoredUnit):
            yield from record.stored


@dataclass(frozen=True, kw_only=True)
class StoredUnit(BlockRecord):
    """The record of a write unit: the voxels read of each channel, and the files stored."""

    read: int = 0
    stored: tuple[StoredFile, ...] = ()


@dataclass(frozen=True)
class BatchMaker:
    """Makes a batch, in all channels and timepoints; picklable.

    It works unit by unit: at most one unit of each level is in memory.
    """

    source: VoxelSource
    writer: VolumeWriter

    def __call__(self, batch: WriteUnit) -> StoredUnit:
        """Write the units that are not empty, and return their record."""
        cores = batch.core.split(self.writer.write_shape)
        parts = [part for core in cores if (part := self.source.part(core)) is not None]
        if not parts:
            return StoredUnit(state=BlockState.OUTSIDE)
        times = range(self.writer.layout.timepoints)
        stored = tuple(file for t in times for file in self._write(batch.core, parts, t))
        read = sum(part.needed.size for part in parts) * len(times)
        return StoredUnit(state=BlockState.OK if stored else BlockState.EMPTY, read=read, stored=stored)

    def _write(self, whole: Region, parts: Sequence[Part], timepoint: int) -> Iterator[StoredFile]:
        """Write the units and their means at the next level; yields the files."""
        writer = self.writer
        above = writer.above(whole)
        built = np.zeros((writer.layout.channels, *above.shape), writer.dtype)
        for part in parts:
            made = part.make(timepoint)
            for c, array in enumerate(made if made is not None else ()):
                yield from writer.write(part.core, array, channel=c, timepoint=timepoint)
                if above.size:
                    built[c][writer.above(part.core).relative_to(above).slices] = writer.downsample(array)
        if built.any():
            for c, array in enumerate(built):
                yield from writer.write(above, array, level=1, channel=c, timepoint=timepoint)


@dataclass(frozen=True)
class LevelMaker:
    """Makes any write unit of a coarser level of the pyramid from the level before; picklable."""

    writer: VolumeWriter
    level: int

    def __call__(self, unit: WriteUnit) -> StoredUnit:
        """Make one unit, and return its record."""
        stored = tuple(
            file
            for timepoint in range(self.writer.layout.timepoints)
            for channel in range(self.writer.layout.channels)
            for file in self.writer.build_level_region(self.level, unit.core, channel=channel, timepoint=timepoint)
        )
        return StoredUnit(state=BlockState.OK if stored else BlockState.EMPTY, stored=stored)
