"""One block of `local-align`: read, align in memory, write its piece of the displacement field."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from teralign.blockwise import Block, Workspace
from teralign.cluster import worker_threads
from teralign.files import writing
from teralign.grids import Floats, Grid, Region, Triple
from teralign.registration import Alignment, Image, StepConfig, Windows, align
from teralign.tasks.inputs import Source, nothing_in
from teralign.tasks.reports import step_reports
from teralign.transforms import DisplacementField, Stack, as_field, folding

STAGE = "align"
MARGIN = 0.1  # of the block's extent: how far beyond the start a block may look for its moving partner
MIN_JACOBIAN = 0.05  # a block whose field squeezes space more than this is not used


@dataclass(frozen=True)
class BlockAligner:
    """Aligns any block of a plan; picklable, so that workers get it once.

    `strides` are the fixed voxels (z, y, x) from node to node of `nodes`, the grid of the whole field.
    """

    fixed: Source
    moving: Source
    steps: Sequence[StepConfig]
    start: Stack
    nodes: Grid
    strides: Triple
    seed: int
    threads: int | None
    workspace: Workspace

    def __call__(self, block: Block) -> dict[str, Any]:
        """Align the block and store its field (z, y, x, 3) over `node_region(block)`; gives its record."""
        fixed = self.fixed.read(block.region)
        if reason := nothing_in(fixed):
            return {"state": "empty", "reason": f"the fixed volume {reason} here"}
        grid = self.fixed.grid.crop(block.region)
        start, where = self._moving_region(grid)
        if where.size == 0:
            return {"state": "outside", "reason": "the start maps this block outside the moving volume"}
        moving = self.moving.read(where)
        if reason := nothing_in(moving):
            return {"state": "empty", "reason": f"the moving volume {reason} here"}
        return self._align(block, fixed, moving, start)

    def _align(self, block: Block, fixed: Image, moving: Image, start: Stack) -> dict[str, Any]:
        threads = self.threads or worker_threads()
        nodes = node_region(block, self.strides, self.nodes)
        found = align(
            fixed,
            moving,
            self.steps,
            start=start,
            field_grid=self.nodes.crop(nodes),
            seed=self.seed,
            threads=threads,
        )
        field = as_field(found.transform, self.nodes, region=nodes, threads=threads)
        windows = Windows.of(fixed, moving)
        before, after = windows.score(start), windows.score(start.then(field))
        least = folding(field, threads=threads).least
        record = {"metric_before": before, "metric_after": after, "min_jacobian": least, "steps": step_reports(found)}
        reason = _why_not(found, least, before, after)
        if reason:
            field = DisplacementField(np.zeros_like(field.values), self.nodes, nodes)
        with writing(self.workspace.payload(STAGE, block.name, ".npy")) as file:
            np.save(file, field.values)
        mean = self._mean_over_core(block, field)
        state = {"state": "kept" if reason else "ok", "reason": reason}
        return record | state | {"displacement": [round(float(v), 4) for v in mean]}

    def _moving_region(self, grid: Grid) -> tuple[Stack, Region]:
        """The start as it is around the block, and the moving voxels to read: the start's bounds and a margin."""
        low, high = grid.to_physical((0, 0, 0)), grid.to_physical(np.array(grid.shape) - 1)
        margin = MARGIN * np.array(grid.extent)
        start = self.start.load(low - margin, high + margin)
        low, high = start.bounds(low - margin, high + margin)
        return start, self.moving.grid.covering(low, high, margin=2).intersect(self.moving.grid.region)

    def _mean_over_core(self, block: Block, field: DisplacementField) -> Floats:
        core = self.fixed.grid.crop(block.core)
        inside = field.grid.covering(core.to_physical((0, 0, 0)), core.to_physical(np.array(core.shape) - 1))
        values: NDArray[np.float32] = field.values[inside.intersect(field.region).relative_to(field.region).slices]
        mean: Floats = values.reshape(-1, 3).mean(axis=0, dtype=np.float64)
        return mean


def node_region(block: Block, strides: Triple, nodes: Grid) -> Region:
    """The nodes of the whole field that lie in the block with its halo; at the far faces, those beyond it too."""
    z, y, x = (
        (-(-a // s), -(-b // s) + 1) for a, b, s in zip(block.region.start, block.region.stop, strides, strict=True)
    )
    return Region((z[0], y[0], x[0]), (z[1], y[1], x[1])).intersect(nodes.region)


def _why_not(found: Alignment, least: float, before: float, after: float) -> str:
    """Why a block keeps its start; empty when what was found is used."""
    if not found.transform.transforms:
        return "; ".join(f"{r.name}: {r.reason}" for r in found.reports)
    if least < MIN_JACOBIAN:
        return f"the field found folds (Jacobian down to {least:.2f})"
    if not after >= before:
        return f"correlation fell from {before:.3f} to {after:.3f}"
    return ""
