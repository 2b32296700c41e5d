"""The volume of estimated errors beside a field: a value in µm for each cube of the fixed volume, NaN where unknown.

Each chunk is written by one task, from the files of the blocks that touch it, as the field is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from teralign.alignment.align_block import SHOWN
from teralign.alignment.estimate_blocks import ESTIMATES, ESTIMATING, spread_by_block
from teralign.alignment.stages import BlockLayout, Stage
from teralign.blockwise import Block, BlockRecord, Workspace, WriteUnit, WriteUnits, run_blocks
from teralign.grids import Region
from teralign.trust import SCATTER, ErrorMap, cubes_in, cubes_over, floor_of
from teralign.volumes import (
    Directions,
    DisplaySettings,
    StoredFile,
    VolumeWriter,
    create_planned,
    plan_volume,
    with_directions,
)

if TYPE_CHECKING:
    from distributed import Client

ERROR_ENDING = ".error.zarr"
"""The ending of the volume's name, in place of the field's `.zarr`."""
_STAGE = "error"
_WINDOW_VOXELS = 2.0  # the error that viewers show as white
_MOST_CUBES = 1 << 26  # that are read at once: a volume of 10⁶ million voxels


@dataclass(frozen=True, kw_only=True)
class StoredErrors(BlockRecord):
    """The record of a chunk: the files that were stored."""

    stored: tuple[StoredFile, ...] = ()


@dataclass(frozen=True)
class _ErrorFiller:
    """Writes any chunk of the volume. Picklable."""

    layout: BlockLayout
    aligned: str
    workspace: Workspace
    writer: VolumeWriter

    def __call__(self, unit: WriteUnit) -> StoredErrors:
        values = np.full(unit.core.shape, np.nan, np.float32)
        for block in self._blocks(unit.core):
            cubes = cubes_in(self.layout.grid, block.core)
            part = cubes.intersect(unit.core)
            if part.size:
                errors = self._errors(block, cubes)
                values[part.relative_to(unit.core).slices] = errors[part.relative_to(cubes).slices]
        return StoredErrors(stored=tuple(self.writer.write(unit.core, values)))

    def _errors(self, block: Block, cubes: Region) -> NDArray[np.float32]:
        """Return the errors (z, y, x) in µm of a block's cubes: measured, or one number for all that show enough."""
        measured = self.workspace.payload(ESTIMATING, block.name, ESTIMATES)
        if measured.exists():
            return np.asarray(np.load(measured))
        error = spread_by_block(self.workspace).get(block.name, np.nan)
        shown = self.workspace.payload(self.aligned, block.name, SHOWN)
        if not shown.exists() or not np.isfinite(error):
            return np.full(cubes.shape, np.nan, np.float32)
        level = np.float32(max(error, floor_of(self.layout.grid)))
        return np.where(np.load(shown), level, np.float32(np.nan))

    def _blocks(self, cubes: Region) -> list[Block]:
        """Return the blocks whose cores may hold the middle of one of the cubes."""
        grid, whole = self.layout.grid, cubes_over(self.layout.grid)
        low, high = whole.to_physical(cubes.start), whole.to_physical(np.array(cubes.stop) - 1)
        return self.layout.blocks.touching(grid.covering(low, high, margin=1).intersect(grid.region))


def write_error_volume(
    stage: Stage, client: Client | None, workspace: Workspace, path: Path, directions: Directions
) -> ErrorMap | None:
    """Write the errors that the blocks of a stage estimated to `path`, an OME-Zarr image of one level.

    Returns them, None where they are too many to be held in memory.
    """
    grid = cubes_over(stage.layout.grid)
    white = _WINDOW_VOXELS * math.cbrt(math.prod(stage.layout.grid.spacing))
    display = [DisplaySettings(window=(0.0, white, 0.0, white))]
    layout = plan_volume(path, grid=grid, dtype=np.float32, channel_names=["error"], display=display, levels=1)
    writer = create_planned(path, with_directions(layout, path, directions), resume=True)
    units = WriteUnits(grid.shape, writer.write_shape)
    filler = _ErrorFiller(stage.layout, stage.aligning, workspace, writer)
    run_blocks(filler, units, client=client, workspace=workspace, stage=_STAGE)
    writer.finish(file for record in workspace.records(_STAGE, StoredErrors) for file in record.stored)
    if grid.region.size > _MOST_CUBES:
        return None
    values = np.asarray(writer.read(grid.region), np.float32)
    return ErrorMap(values, grid, floor_of(stage.layout.grid), SCATTER)
