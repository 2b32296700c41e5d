"""One stage of `local-align`: its blocks aligned, screened, merged into one field, and summed up."""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from teralign.alignment.align_block import BlockAligner
from teralign.alignment.merge_field import FieldMerger, UsableBlocks, find_outliers
from teralign.alignment.stages import Stage
from teralign.blockwise import Workspace, WriteUnits, block_index, run_blocks
from teralign.grids import Grid
from teralign.transforms import Stack, StoredField, create_field

if TYPE_CHECKING:
    from distributed import Client

log = logging.getLogger(__name__)

_REPORTED = (
    *("block", "state", "reason", "error", "metric_before", "metric_after"),
    *("min_jacobian", "share", "displacement", "correction", "seconds", "fixed_read", "moving_read"),
)


@dataclass(frozen=True)
class StageResult:
    """The merged field of a stage, a summary, the records of its blocks, and how many were there from before."""

    field: StoredField
    summary: dict[str, Any]
    records: list[dict[str, Any]]
    resumed: int
    seconds: float


@dataclass(frozen=True)
class StageRunner:
    """Runs one stage after the other, on the same workers and from the same initial transforms."""

    client: Client
    workspace: Workspace
    initial: Stack
    seed: int
    threads: int | None

    def run(self, stage: Stage, coarse: StoredField | None, built: Path, max_failed: float) -> StageResult:
        """Run a stage that starts from the field of the `coarse` one, and build its field at `built`.

        Raises AlignmentError or DataError when a larger share than `max_failed` of its blocks fails.
        """
        began = time.monotonic()
        log.info("%s", stage.describe())
        resumed = self._align(stage, coarse, max_failed)
        usable, records = self._screen(stage)
        field = self._merge(stage, coarse, usable, built)
        return StageResult(field, self._summarise(stage, records), records, resumed, time.monotonic() - began)

    def _align(self, stage: Stage, coarse: StoredField | None, max_failed: float) -> int:
        """Align the blocks; gives how many were there from before.

        Where merging has begun they are as they are: a block that failed and now does not would fit no chunk that is
        there, nor what a finer stage has made of them.
        """
        if self.workspace.has_records(stage.merging):
            log.info("%s: %d blocks were done before", stage.aligning, len(stage.layout.blocks))
            return len(stage.layout.blocks)
        done = run_blocks(
            BlockAligner(stage, self.initial, coarse, self.seed, self.threads, self.workspace),
            stage.layout.blocks,
            client=self.client,
            workspace=self.workspace,
            stage=stage.aligning,
            max_failed=max_failed,
        )
        return done.resumed

    def _screen(self, stage: Stage) -> tuple[Path, list[dict[str, Any]]]:
        """Find outliers; gives the file of the blocks to use, and all records with their final states."""
        records = [{k: r[k] for k in _REPORTED if k in r} for r in self.workspace.records(stage.aligning)]
        good = [r for r in records if "correction" in r]
        blocks = UsableBlocks(
            np.array([block_index(r["block"]) for r in good], dtype=np.int64).reshape(-1, 3),
            np.array([r["correction"] for r in good], dtype=np.float64).reshape(-1, 3),
        )
        outlier = find_outliers(blocks, stage.layout.block_extent)
        for record, bad in zip(good, outlier, strict=True):
            if bad:
                record.update(state="outlier", reason="its displacement disagrees wildly with its neighbours'")
                log.warning("block %s disagrees wildly with its neighbours and is replaced by them", record["block"])
        path = self.workspace.payload(stage.merging, "usable")
        UsableBlocks(blocks.index[~outlier], blocks.correction[~outlier]).save(path)
        return path, records

    def _merge(self, stage: Stage, coarse: StoredField | None, usable: Path, built: Path) -> StoredField:
        writer = create_field(built, stage.layout.nodes, resume=True)
        merger = FieldMerger(stage.layout, stage.aligning, usable, coarse, self.workspace, writer)
        units = WriteUnits(stage.layout.nodes.shape, writer.chunk_shape)
        run_blocks(merger, units, client=self.client, workspace=self.workspace, stage=stage.merging)
        return writer.finish()

    def _summarise(self, stage: Stage, records: list[dict[str, Any]]) -> dict[str, Any]:
        """Counts by state, the metric before and after, and how the merged field squeezes space."""
        states = Counter(r["state"] for r in records)
        chunks = list(self.workspace.records(stage.merging))
        return {
            "blocks": len(records),
            "states": dict(sorted(states.items())),
            "metric_before": _median(r.get("metric_before") for r in records),
            "metric_after": _median(r.get("metric_after") for r in records),
            "min_jacobian": min(c["min_jacobian"] for c in chunks),
            "folded_share": sum(c["folded"] for c in chunks) / len(chunks),
            "fixed_reads": _times(records, "fixed_read", stage.fixed.grid),
            "moving_reads": _times(records, "moving_read", stage.moving.grid),
        }


def _times(records: list[dict[str, Any]], key: str, grid: Grid) -> float:
    """How often a voxel was read, in the mean."""
    read: int = sum(r.get(key, 0) for r in records)
    return round(read / math.prod(grid.shape), 2)


def _median(values: Any) -> float | None:  # noqa: ANN401 - whatever JSON held
    known = [v for v in values if v is not None]
    return float(np.median(known)) if known else None
