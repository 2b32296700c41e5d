"""One block of `local-align`: read, align in memory, write its piece of the displacement field.

A block starts from the initial transforms and the field u_c of the coarser stage, if there is one:
x_moving = initial(c(x)) with c(x) = x + u_c(x). The steps find f, and the block's field combines both:
u(x) = c(f(x)) − x. At every stage the whole map is therefore initial(x + u(x)).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from teralign.alignment.records import AlignedBlock
from teralign.alignment.sources import why_empty
from teralign.alignment.stages import COARSER, Readable, Stage
from teralign.blockwise import Block, BlockState, Workspace
from teralign.cluster import worker_threads
from teralign.files import writing
from teralign.grids import Floats, FloatTriple, Grid, Region, Triple, as_float_triple
from teralign.registration import Alignment, Image, Measure, StepConfig, Windows, align, measure_of
from teralign.transforms import DisplacementField, Stack, StoredField, as_field, folding
from teralign.trust import cubes_in, cubes_over, cubes_shown

SEARCH_MARGIN = 0.1  # of the block's extent: how far from the start the moving partner is looked for
REFINING_MARGIN = COARSER  # voxels, likewise, from the field of a coarser stage: one coarse voxel
MIN_JACOBIAN = 0.05  # a field with a smaller determinant nearly folds, and is not used
SHOWN = ".shown.npy"
"""The ending of the files with the cubes of a block in which an error can be told."""
OUTSIDE_BOX = "the block lies outside the fixed region of interest"
_SHARES = (1.0, 0.75, 0.5, 0.25)  # of the correction found, tried in this order


@dataclass(frozen=True)
class BlockAligner:
    """Aligns any block of a stage; `coarse` is the merged field of the stage before. Picklable.

    With `estimates` it also notes the cubes in which the error that remains can be told.
    """

    stage: Stage
    initial: Stack
    coarse: StoredField | None
    seed: int
    threads: int | None
    workspace: Workspace
    estimates: bool = False

    def __call__(self, block: Block) -> AlignedBlock:
        """Align the block, store its field (z, y, x, 3) over `node_region(block)`, and return its record."""
        inside = block.region.intersect(self.stage.fixed.box)
        if inside.size == 0:
            return AlignedBlock(state=BlockState.MASKED, reason=OUTSIDE_BOX)
        if self.stage.fixed.masks_out(block.region):
            return AlignedBlock(state=BlockState.MASKED, reason="the fixed mask leaves nothing here")
        fixed = self.stage.fixed.read(block.region)
        read = AlignedBlock(fixed_read=inside.size)
        if reason := why_empty(fixed):
            return replace(read, state=BlockState.EMPTY, reason=f"the fixed volume {reason} here")
        initial, coarse, where = self._starting_at(fixed.grid)
        if where.size == 0:
            reason = "the start maps this block outside the moving volume, or its region of interest"
            return replace(read, state=BlockState.OUTSIDE, reason=reason)
        if self.stage.moving.masks_out(where):
            reason = "the moving mask leaves nothing where this block lies"
            return replace(read, state=BlockState.MASKED, reason=reason)
        moving = self.stage.moving.read(where)
        read = replace(read, moving_read=moving.array.size)
        if reason := why_empty(moving):
            return replace(read, state=BlockState.EMPTY, reason=f"the moving volume {reason} here")
        return self._align(block, read, fixed, moving, initial, coarse)

    def _align(
        self, block: Block, read: AlignedBlock, fixed: Image, moving: Image, initial: Stack, coarse: Stack
    ) -> AlignedBlock:
        threads = self.threads or worker_threads()
        layout, start = self.stage.layout, initial @ coarse
        nodes = node_region(block, layout.strides, layout.nodes)
        found = align(
            fixed,
            moving,
            self.stage.steps,
            initial_transform=start,
            field_grid=layout.nodes.crop(nodes),
            seed=self.seed,
            threads=threads,
        )
        judge = _Judge.of(fixed, moving, self.stage.steps, start, start @ found.transform)
        chosen = self._choose(found, judge, initial, coarse, nodes, threads)
        with writing(self.workspace.payload(self.stage.aligning, block.name, ".npy")) as file:
            np.save(file, chosen.field.values)
        if self.estimates:
            self._note_cubes(block, fixed, moving, start @ chosen.correction)
        return replace(
            read,
            state=BlockState.KEPT if chosen.reason else BlockState.OK,
            reason=chosen.reason,
            metric_before=chosen.before,
            metric_after=chosen.after,
            min_jacobian=folding(chosen.field, threads=threads).min_jacobian,
            share=chosen.share,
            displacement=self._mean_over_core(block, chosen.field.values, nodes),
            max_displacement=round(float(np.linalg.norm(chosen.field.values, axis=-1).max()), 4),
            correction=self._mean_over_core(block, chosen.field.values - chosen.coarse_field.values, nodes),
            voxel_error_um=_voxel_error(found),
        )

    def _note_cubes(self, block: Block, fixed: Image, moving: Image, transform: Stack) -> None:
        """Store in which cubes of the block's core both images show enough to tell an error."""
        grid = self.stage.layout.grid
        region = cubes_in(grid, block.core)
        shown = cubes_shown(fixed, moving, transform=transform, cubes=cubes_over(grid), region=region)
        with writing(self.workspace.payload(self.stage.aligning, block.name, SHOWN)) as file:
            np.save(file, shown)

    def _choose(
        self, found: Alignment, judge: _Judge, initial: Stack, coarse: Stack, nodes: Region, threads: int
    ) -> _Choice:
        """Return the field to use.

        It contains the largest share of the found correction with which the field does not fold and fits at least as
        well as the coarser field. If no share does, it is the coarser field; if the initial transforms alone fit
        best, it is zero.
        """
        grid = self.stage.layout.nodes
        sampled = functools.partial(as_field, grid=grid, region=nodes, threads=threads)
        coarse_field, correction = sampled(coarse), sampled(found.transform).values
        at_initial, at_coarse = judge.score(initial), judge.score(initial @ coarse_field)
        reason = "; ".join(f"{r.name}: {r.reason}" for r in found.reports)
        field, after, share, used = coarse_field, at_coarse, 0.0, np.zeros_like(correction)
        for part in _SHARES if found.transform.transforms else ():
            scaled = np.float32(part) * correction
            tried = sampled(coarse @ DisplacementField(scaled, grid, nodes))
            min_jacobian, score = folding(tried, threads=threads).min_jacobian, judge.score(initial @ tried)
            reason = _why_not(min_jacobian, at_coarse, score)
            if not reason:
                field, after, share, used = tried, score, part, scaled
                break
        if at_initial > after:
            reason = f"the initial transforms fit better: {at_initial:.4f}, not {after:.4f}"
            field, after, share = DisplacementField(np.zeros_like(coarse_field.values), grid, nodes), at_initial, 0.0
            used = -coarse_field.values
        return _Choice(field, coarse_field, DisplacementField(used, grid, nodes), at_initial, after, share, reason)

    def _starting_at(self, grid: Grid) -> tuple[Stack, Stack, Region]:
        """Return the initial transforms and the coarser field around a block, and the moving voxels to read."""
        low, high = search_box(grid, refining=self.coarse is not None)
        coarse = Stack() if self.coarse is None else Stack((self.coarse,)).load(low, high)
        low, high = coarse.bounds(low, high)
        initial, where = moving_region(self.stage.moving, self.initial, low, high)
        return initial, coarse, where

    def _mean_over_core(self, block: Block, values: NDArray[np.float32], nodes: Region) -> FloatTriple:
        layout = self.stage.layout
        core = layout.grid.crop(block.core)
        inside = layout.nodes.covering(core.to_physical((0, 0, 0)), core.to_physical(np.array(core.shape) - 1))
        mean = values[inside.intersect(nodes).relative_to(nodes).slices].reshape(-1, 3).mean(axis=0, dtype=np.float64)
        return as_float_triple(round(float(v), 4) for v in mean)


def search_box(grid: Grid, *, refining: bool) -> tuple[Floats, Floats]:
    """Return the low and high corner (z, y, x; µm) of a block's grid, with a margin for the displacements to find.

    The margin is smaller for a block that is `refining` the field of a coarser stage.
    """
    low, high = grid.to_physical((0, 0, 0)), grid.to_physical(np.array(grid.shape) - 1)
    margin = REFINING_MARGIN * np.array(grid.spacing) if refining else SEARCH_MARGIN * np.array(grid.extent)
    return low - margin, high + margin


def moving_region(moving: Readable, initial: Stack, low: Floats, high: Floats) -> tuple[Stack, Region]:
    """Return the initial transforms around a box (µm), and the voxels of the moving image that they map it to."""
    around = initial.load(low, high)
    low, high = around.bounds(low, high)
    return around, moving.grid.covering(low, high, margin=2).intersect(moving.box)


def node_region(block: Block, strides: Triple, nodes: Grid) -> Region:
    """Return the nodes of the whole field in the block with its halo, and one beyond at the far faces."""
    z, y, x = (
        (-(-a // s), -(-b // s) + 1) for a, b, s in zip(block.region.start, block.region.stop, strides, strict=True)
    )
    return Region((z[0], y[0], x[0]), (z[1], y[1], x[1])).intersect(nodes.region)


@dataclass(frozen=True)
class _Judge:
    """Judges a block's fields by the measure of its last step; inverts one image where the two are opposites."""

    windows: Windows
    measure: Measure

    @classmethod
    def of(cls, fixed: Image, moving: Image, steps: Sequence[StepConfig], *transforms: Stack) -> _Judge:
        """Return the judge of two images: they are opposites if their strongest correlation is negative."""
        windows, measure = Windows.of(fixed, moving), measure_of(steps[-1])
        scores = [np.nan_to_num(windows.score(transform)) for transform in transforms]
        opposite = measure == "lncc" and max(scores, key=abs) < 0
        return cls(windows.negative() if opposite else windows, measure)

    def score(self, transform: Stack) -> float:
        """Return how well the images agree; higher is better."""
        return self.windows.score(transform, self.measure)


@dataclass(frozen=True)
class _Choice:
    """The field of a block, the coarser field it started from, and the metric of the initial transforms and now.

    The field contains a `share` of the correction found; `reason` says why the share is 0. `correction` is what the
    field does before the coarser one is applied.
    """

    field: DisplacementField
    coarse_field: DisplacementField
    correction: DisplacementField
    before: float
    after: float
    share: float
    reason: str


def _voxel_error(found: Alignment) -> float | None:
    """Return how far the residual of the last deformation misplaces a voxel, in µm; None where it is not known."""
    for report in reversed(found.reports):
        error = report.details.get("voxel_error_um")
        if isinstance(error, float) and math.isfinite(error):
            return error
    return None


def _why_not(min_jacobian: float, before: float, after: float) -> str:
    """Return why a field is not used; empty when it is."""
    if min_jacobian < MIN_JACOBIAN:
        return f"the field found folds (Jacobian down to {min_jacobian:.2f})"
    if not after >= before:
        return f"the metric fell from {before:.3f} to {after:.3f}"
    return ""
