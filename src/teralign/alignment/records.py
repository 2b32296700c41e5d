"""The records of blocks and chunks of an alignment, and their summary."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from teralign.blockwise import BlockRecord, BlockState
from teralign.grids import FloatTriple, Grid


@dataclass(frozen=True, kw_only=True)
class AlignedBlock(BlockRecord):
    """The record of an aligned block; a value is None if the block ended before it was known.

    `fixed_read` and `moving_read` are voxels. The metrics (higher is better) are those of the initial transforms and
    of the field used, `share` is the used share of the correction, `min_jacobian` the field's smallest determinant.
    `displacement` and `correction` (z, y, x) are means over the block's core in µm: of the field, and of its
    difference from the field of the coarser stage. `max_displacement` is the field's greatest length in µm.
    `voxel_error_um` is how far the residual misplaces a single voxel in µm, and `error_um` the estimated error that
    remains, the root mean square over the core in µm. `error_measured` is whether it was measured in this block; else
    it follows from others.
    """

    metric_before: float | None = None
    metric_after: float | None = None
    min_jacobian: float | None = None
    share: float | None = None
    displacement: FloatTriple | None = None
    max_displacement: float | None = None
    correction: FloatTriple | None = None
    voxel_error_um: float | None = None
    error_um: float | None = None
    error_measured: bool | None = None
    fixed_read: int | None = None
    moving_read: int | None = None

    def summary(self) -> dict[str, object]:
        """Return the fields for the report of a run: all that are known, without worker, attempts and traceback."""
        return {name: value for name in _REPORTED if (value := getattr(self, name)) is not None}


_REPORTED = (
    *("block", "state", "reason", "error", "metric_before", "metric_after", "min_jacobian", "share"),
    *("displacement", "max_displacement", "correction", "error_um", "error_measured"),
    *("seconds", "fixed_read", "moving_read"),
)


@dataclass(frozen=True, kw_only=True)
class MergedChunk(BlockRecord):
    """The record of a chunk of the merged field: its smallest Jacobian determinant, and its folded share."""

    min_jacobian: float
    folded: float


@dataclass(frozen=True, kw_only=True)
class StageSummary:
    """The summary of a stage, whose voxels are `spacing` (z, y, x) µm apart.

    It has the blocks by state, the median metric of the blocks before and after, the smallest Jacobian determinant
    and the folded share of the merged field (None without blocks), and how often a voxel of each volume was read, on
    average.
    """

    spacing: FloatTriple
    blocks: int
    states: Mapping[BlockState, int]
    metric_before: float | None
    metric_after: float | None
    min_jacobian: float | None
    folded_share: float | None
    fixed_reads: float
    moving_reads: float

    @property
    def gain(self) -> float | None:
        """The gain of the median metric by the blocks; None where nothing was measured."""
        if self.metric_before is None or self.metric_after is None:
            return None
        return self.metric_after - self.metric_before

    @classmethod
    def none(cls, fixed: Grid) -> StageSummary:
        """Return the summary of an alignment of no blocks."""
        return cls(
            spacing=fixed.spacing,
            blocks=0,
            states={},
            metric_before=None,
            metric_after=None,
            min_jacobian=None,
            folded_share=None,
            fixed_reads=0.0,
            moving_reads=0.0,
        )

    @classmethod
    def of(
        cls, blocks: Sequence[AlignedBlock], chunks: Sequence[MergedChunk], fixed: Grid, moving: Grid
    ) -> StageSummary:
        """Sum up the blocks of a stage and the chunks of its merged field."""
        states = Counter(block.state for block in blocks)
        return cls(
            spacing=fixed.spacing,
            blocks=len(blocks),
            states=dict(sorted(states.items())),
            metric_before=_median(block.metric_before for block in blocks),
            metric_after=_median(block.metric_after for block in blocks),
            min_jacobian=min(chunk.min_jacobian for chunk in chunks),
            folded_share=sum(chunk.folded for chunk in chunks) / len(chunks),
            fixed_reads=_reads(blocks, lambda block: block.fixed_read, fixed),
            moving_reads=_reads(blocks, lambda block: block.moving_read, moving),
        )


def _reads(blocks: Iterable[AlignedBlock], voxels: Callable[[AlignedBlock], int | None], grid: Grid) -> float:
    """Return how often a voxel of the grid was read, on average."""
    return round(sum(voxels(block) or 0 for block in blocks) / math.prod(grid.shape), 2)


def _median(values: Iterable[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return float(np.median(known)) if known else None
