"""The error that an alignment leaves, block by block: measured in some blocks, and spread from them to the others.

It comes after the blocks are merged, so that the map is the one that is used, and does not change it. A measured
block has a file with the errors of its cubes; the others have one number, in the file of all blocks.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from teralign.alignment.records import AlignedBlock
from teralign.alignment.stages import Stage
from teralign.blockwise import Block, BlockRecord, BlockState, Workspace, block_index, block_name, run_blocks
from teralign.cluster import worker_threads
from teralign.files import write_arrays, writing
from teralign.grids import as_triple
from teralign.transforms import Stack, StoredField
from teralign.trust import (
    ERROR_MARGIN,
    choose_blocks,
    cubes_in,
    cubes_over,
    deform_of,
    estimate_errors,
    floor_of,
    rms,
    spread_errors,
)

if TYPE_CHECKING:
    from distributed import Client

ESTIMATING = "estimate"
"""The stage of the measured blocks, and of the file with the errors of all."""
ESTIMATES = ".error.npy"
"""The ending of the files with the measured errors of a block, by cubes."""


@dataclass(frozen=True, kw_only=True)
class EstimatedBlock(BlockRecord):
    """The record of a measured block: the root mean square of its errors in µm, None where too little is shown."""

    error_um: float | None = None


@dataclass(frozen=True)
class BlockEstimator:
    """Measures the error in any block of a stage, under the whole map of the stage. Picklable."""

    stage: Stage
    initial: Stack
    field: StoredField
    threads: int | None
    workspace: Workspace

    def __call__(self, block: Block) -> EstimatedBlock:
        """Measure, store the errors of the cubes in the block's core, and return the record."""
        stage, grid = self.stage, self.stage.layout.grid
        region = cubes_in(grid, block.core)
        around = block.core.grow((ERROR_MARGIN,) * 3).intersect(block.region)
        low, high = grid.to_physical(around.start), grid.to_physical(np.array(around.stop) - 1)
        transform = (self.initial @ Stack((self.field,))).load(low, high)
        where = stage.moving.grid.covering(*transform.bounds(low, high), margin=2).intersect(stage.moving.box)
        if region.size == 0 or where.size == 0:
            return EstimatedBlock()
        errors = estimate_errors(
            stage.fixed.read(around),
            stage.moving.read(where),
            transform=transform,
            config=deform_of(stage.steps),
            cubes=cubes_over(grid),
            region=region,
            threads=self.threads or worker_threads(),
        )
        with writing(self.workspace.payload(ESTIMATING, block.name, ESTIMATES)) as file:
            np.save(file, errors)
        return EstimatedBlock(error_um=rms(errors))


def estimate_blocks(
    estimator: BlockEstimator, client: Client | None, records: Sequence[AlignedBlock]
) -> list[AlignedBlock]:
    """Estimate the errors of all blocks that were aligned, and return the records with them.

    Blocks whose result was not used are measured, too: nothing of what their neighbours found holds in them. A block
    whose measurement fails is estimated as the others are.
    """
    stage, workspace = estimator.stage, estimator.workspace
    aligned = [row for row, record in enumerate(records) if record.correction is not None]
    index = np.array([block_index(records[row].block) for row in aligned], dtype=np.int64).reshape(-1, 3)
    blocks = [stage.layout.blocks.block(as_triple(place)) for place in index.tolist()]
    # A block that is thinner than a cube may hold the middle of none.
    able = np.array([i for i, block in enumerate(blocks) if cubes_in(stage.layout.grid, block.core).size], np.intp)
    chosen = set(able[choose_blocks(index[able])].tolist())
    chosen |= {i for i in able.tolist() if records[aligned[i]].state is BlockState.OUTLIER}
    run_blocks(
        estimator,
        [blocks[i] for i in sorted(chosen)],
        client=client,
        workspace=workspace,
        stage=ESTIMATING,
        max_failed=1.0,
    )
    measured = {record.block: record.error_um for record in workspace.records(ESTIMATING, EstimatedBlock)}
    grid = stage.layout.grid
    errors = spread_errors(
        np.array([grid.crop(block.core).centre for block in blocks]).reshape(-1, 3),
        np.array([_number(records[row].voxel_error_um) for row in aligned]),
        np.array([_number(measured.get(block.name)) for block in blocks]),
    )
    with writing(_spread(workspace)) as file:
        write_arrays(file, {"index": index, "error": errors})
    estimated = list(records)
    for row, block, error in zip(aligned, blocks, errors.tolist(), strict=True):
        if np.isfinite(error):
            own = measured.get(block.name) is not None
            rounded = round(max(error, floor_of(grid)), 4)
            estimated[row] = replace(records[row], error_um=rounded, error_measured=own)
    return estimated


def spread_by_block(workspace: Workspace) -> Mapping[str, float]:
    """Return the estimated errors in µm of the blocks, by their names; each process reads them once."""
    path = _spread(workspace)
    return _load(path, path.stat().st_mtime_ns)


@functools.lru_cache(maxsize=1)
def _load(path: Path, _changed: int) -> Mapping[str, float]:
    with np.load(path) as file:
        names = (block_name(as_triple(place)) for place in file["index"].tolist())
        return dict(zip(names, file["error"].tolist(), strict=True))


def _spread(workspace: Workspace) -> Path:
    return workspace.payload(ESTIMATING, "spread")


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
