"""The run of a stage: blocks are aligned and screened, their fields merged and summed up."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from teralign.alignment.align_block import BlockAligner
from teralign.alignment.estimate_blocks import BlockEstimator, estimate_blocks
from teralign.alignment.merge_field import RETURN, FieldMerger, UsableBlocks, find_outliers
from teralign.alignment.records import AlignedBlock, MergedChunk, StageSummary
from teralign.alignment.stages import Stage
from teralign.blockwise import BlockState, Workspace, WriteUnits, block_index, block_name, run_blocks
from teralign.grids import as_triple
from teralign.progress import counted
from teralign.transforms import Stack, StoredField, create_field, finish_map

if TYPE_CHECKING:
    from distributed import Client

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StageResult:
    """The merged field of a stage, a summary, the records of its blocks, and how many an earlier run had finished."""

    field: StoredField
    summary: StageSummary
    records: list[AlignedBlock]
    resumed: int
    seconds: float


@dataclass(frozen=True)
class StageRunner:
    """Runs stages on the same workers and from the same initial transforms; without a client, in this process.

    With `estimates`, the blocks of the finest stage estimate the error that remains.
    """

    client: Client | None
    workspace: Workspace
    initial: Stack
    seed: int
    threads: int | None
    estimates: bool = False

    def run_all(self, stages: Sequence[Stage], name: str, max_failed: float) -> list[StageResult]:
        """Run the stages, coarsest first, each from the field before it; the finest builds the output called `name`.

        Raises as `run` does for the finest; blocks of coarser stages may all fail.
        """
        results: list[StageResult] = []
        for stage in stages:
            finest = stage is stages[-1]
            built = self.workspace.output / (name if finest else f"coarse{stage.suffix}.zarr")
            coarse = results[-1].field if results else None
            runner = self if finest else replace(self, estimates=False)
            results.append(runner.run(stage, coarse, built, max_failed if finest else 1.0))
        return results

    def run(self, stage: Stage, coarse: StoredField | None, built: Path, max_failed: float) -> StageResult:
        """Run a stage that starts from the field of the stage before, and build its field at `built`.

        Raises AlignmentError or DataError when a larger share than `max_failed` of its blocks fails.
        """
        began = time.monotonic()
        log.info("%s", stage.sentence())
        resumed = self._align(stage, coarse, max_failed)
        usable, records = self._screen(stage)
        field = self._merge(stage, coarse, usable, built, _fade(stage, records))
        chunks = list(self.workspace.records(stage.merging, MergedChunk))
        summary = StageSummary.of(records, chunks, stage.fixed.grid, stage.moving.grid)
        if self.estimates:
            estimator = BlockEstimator(stage, self.initial, field, self.threads, self.workspace)
            records = estimate_blocks(estimator, self.client, records)
        return StageResult(field, summary, records, resumed, time.monotonic() - began)

    def _align(self, stage: Stage, coarse: StoredField | None, max_failed: float) -> int:
        """Align the blocks; return how many an earlier run had finished.

        Once merging has begun, no block is aligned again: a block that failed before and succeeds now would not fit
        the chunks that are merged already, nor the blocks of a finer stage.
        """
        if self.workspace.has_records(stage.merging):
            log.info("%s: %s finished before", stage.aligning, counted(len(stage.layout.blocks), "block"))
            return len(stage.layout.blocks)
        done = run_blocks(
            BlockAligner(stage, self.initial, coarse, self.seed, self.threads, self.workspace, self.estimates),
            stage.layout.blocks,
            client=self.client,
            workspace=self.workspace,
            stage=stage.aligning,
            max_failed=max_failed,
        )
        return done.resumed

    def _screen(self, stage: Stage) -> tuple[Path, list[AlignedBlock]]:
        """Find outliers; return the file of the blocks to use, and all records with their final states."""
        records = list(self.workspace.records(stage.aligning, AlignedBlock))
        index = np.array([block_index(r.block) for r in records if r.correction], dtype=np.int64).reshape(-1, 3)
        correction = np.array([r.correction for r in records if r.correction], dtype=np.float64).reshape(-1, 3)
        outlier = find_outliers(UsableBlocks(index, correction), stage.layout.block_extent)
        path = self.workspace.payload(stage.merging, "usable")
        UsableBlocks(index[~outlier], correction[~outlier]).save(path)
        bad = {block_name(as_triple(place)) for place in index[outlier].tolist()}
        for name in sorted(bad):
            log.warning("block %s disagrees wildly with its neighbours and is replaced by them", name)
        return path, [_as_outlier(r) if r.block in bad else r for r in records]

    def _merge(self, stage: Stage, coarse: StoredField | None, usable: Path, built: Path, fade: float) -> StoredField:
        writer = create_field(built, stage.layout.nodes, resume=True)
        merger = FieldMerger(
            stage.layout, stage.fixed.box, fade, stage.aligning, usable, coarse, self.workspace, writer
        )
        units = WriteUnits(stage.layout.nodes.shape, writer.chunk_shape)
        run_blocks(merger, units, client=self.client, workspace=self.workspace, stage=stage.merging)
        finish_map(built, Stack((writer.field,)))
        return writer.field


def _fade(stage: Stage, records: Sequence[AlignedBlock]) -> float:
    """Return the distance in µm from the region of interest at which the field has returned to the start."""
    used = (r.max_displacement for r in records if r.state is not BlockState.OUTLIER)
    greatest = max((length for length in used if length is not None), default=0.0)
    return max(RETURN * greatest, *stage.layout.nodes.spacing)


def _as_outlier(record: AlignedBlock) -> AlignedBlock:
    reason = "its displacement disagrees wildly with its neighbours'"
    return replace(record, state=BlockState.OUTLIER, reason=reason)
