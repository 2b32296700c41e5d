"""A volume written by blocks: its two finest levels from whatever makes voxels, the coarser ones from those.

A task is what lies under one write unit of the second level, so that no voxel is read again to make that. What every
task stored is in its record, and becomes the manifest when all are done.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from teralign.addresses import Address
from teralign.blockwise import BlockRecord, BlockState, RunSummary, Workspace, WriteUnit, WriteUnits, run_blocks
from teralign.grids import Region, Triple
from teralign.volumes import (
    PyramidLayout,
    StoredFile,
    VolumeWriter,
    check_output,
    create_planned,
    is_one_file,
    split_uri,
    write_file,
)

if TYPE_CHECKING:
    from distributed import Client


_VOXELS = "voxels.zarr"


@dataclass(frozen=True)
class Part:
    """A write unit of the finest level: its voxels, those of the input that it needs, and how it is made of them.

    `make` gives the channels (c, z, y, x) at one of the output's timepoints, None when all of them are 0.
    """

    core: Region
    needed: Region
    make: Callable[[int], Iterable[NDArray[Any]] | None]


class VoxelSource(Protocol):
    """Where the voxels of the finest level come from. Picklable."""

    def part(self, core: Region) -> Part | None:
        """How a write unit is made, None when there is nothing in it."""
        ...


def fill_volume(
    uri: str,
    source: VoxelSource,
    *,
    stage: str,
    key: Mapping[str, object],
    layout: PyramidLayout,
    connect: Callable[[], AbstractContextManager[Client | None]],
    work_dir: Path | None,
    overwrite: bool,
) -> dict[str, Any]:
    """Write the volume `uri`, which appears when it is whole; gives what became of the tasks of its finest level.

    `layout` is its `plan_volume`; `key` is what the voxels depend on: the same call goes on with the unfinished work
    of `work_dir`. Where `connect` gives no client it is done in this process. Raises InputError when the output
    cannot be written there.
    """
    target = check_output(uri, overwrite=overwrite)
    _, dataset = split_uri(uri)
    with Workspace.of(target, work_dir) as workspace:
        workspace.prepare({**key, "output": f"{target.name}/{dataset}", "ome_zarr": layout.ome_zarr})
        with building(target, dataset, layout, workspace, overwrite=overwrite) as writer, connect() as client:
            summary = _write(source, writer, client, workspace, stage)
    return summary


@contextmanager
def building(
    target: Path | Address, dataset: str, layout: PyramidLayout, workspace: Workspace, *, overwrite: bool
) -> Iterator[VolumeWriter]:
    """What writes a volume, which is moved from the workspace to `target` when the block ends well.

    An output that is one file is written then, from a volume in the workspace.
    """
    built = workspace.output / target.name
    one_file = is_one_file(target)
    writer = create_planned(workspace.output / _VOXELS if one_file else built / dataset, layout, resume=True)
    yield writer
    if one_file:
        write_file(built, writer, layout)
    workspace.finish(built, target, overwrite=overwrite)


def _write(
    source: VoxelSource, writer: VolumeWriter, client: Client | None, workspace: Workspace, stage: str
) -> dict[str, Any]:
    """Make the two finest levels, then the coarser ones, then the manifest."""
    families = _own_files(writer, 0, writer.family_shape)
    if len(writer.levels) > 1:
        _own_files(writer, 1, writer.above(Region.whole(writer.family_shape)).shape)
    summary = run_blocks(FamilyMaker(source, writer), families, client=client, workspace=workspace, stage=stage)
    stages = [stage, *(s.stage for s in make_levels(writer, range(2, len(writer.levels)), client, workspace))]
    writer.finish(stored_files(workspace, stages))
    states = Counter(record.state for record in workspace.records(stage, BlockRecord))
    return {"units": summary.total, "resumed": summary.resumed, "states": dict(sorted(states.items()))}


def make_levels(
    writer: VolumeWriter, levels: Sequence[int], client: Client | None, workspace: Workspace
) -> list[RunSummary]:
    """Make these levels of a pyramid, each from the one before; gives what became of the blocks of each."""
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
    """The units of a level, `unit` voxels (z, y, x) each; ValueError where a file would have more than one writer."""
    file, whole = writer.file_shape(level), writer.levels[level].shape
    if any(u < n and u % f for u, f, n in zip(unit, file, whole, strict=True)):  # one unit shares with none
        raise ValueError(f"tasks of {unit} voxels would share files of {file} in level {level} of {writer.uri}")
    return WriteUnits(whole, unit)


def stored_files(workspace: Workspace, stages: Sequence[str]) -> Iterator[StoredFile]:
    """The files that the tasks of these stages have stored."""
    for stage in stages:
        for record in workspace.records(stage, StoredUnit):
            yield from record.stored


@dataclass(frozen=True, kw_only=True)
class StoredUnit(BlockRecord):
    """What became of a write unit: the voxels read of each channel, and the files stored."""

    read: int = 0
    stored: tuple[StoredFile, ...] = ()


@dataclass(frozen=True)
class FamilyMaker:
    """Makes what lies under one write unit of the second level, all channels and timepoints; picklable.

    It goes unit by unit, and holds no more than one of either level.
    """

    source: VoxelSource
    writer: VolumeWriter

    def __call__(self, family: WriteUnit) -> StoredUnit:
        """Write what is not empty, and return its record."""
        cores = family.core.split(self.writer.write_shape)
        parts = [part for core in cores if (part := self.source.part(core)) is not None]
        if not parts:
            return StoredUnit(state=BlockState.OUTSIDE)
        times = range(self.writer.timepoints)
        stored = tuple(file for t in times for file in self._write(family.core, parts, t))
        read = sum(part.needed.size for part in parts) * len(times)
        return StoredUnit(state=BlockState.OK if stored else BlockState.EMPTY, read=read, stored=stored)

    def _write(self, whole: Region, parts: Sequence[Part], timepoint: int) -> Iterator[StoredFile]:
        """Write the units and what they become at the next level; gives the files."""
        writer = self.writer
        above = writer.above(whole)
        built = np.zeros((writer.channels, *above.shape), writer.dtype)
        for part in parts:
            made = part.make(timepoint)
            for c, array in enumerate(made if made is not None else ()):
                yield from writer.write(part.core, array, channel=c, timepoint=timepoint)
                if above.size:
                    built[c][writer.above(part.core).relative_to(above).slices] = writer.coarsen(array)
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
            for timepoint in range(self.writer.timepoints)
            for channel in range(self.writer.channels)
            for file in self.writer.build_level_region(self.level, unit.core, channel=channel, timepoint=timepoint)
        )
        return StoredUnit(state=BlockState.OK if stored else BlockState.EMPTY, stored=stored)
