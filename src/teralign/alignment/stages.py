"""The stages of `local-align`: the same volume in blocks of the same number of voxels, from coarse to fine.

Each stage samples the volume `COARSER` times coarser than the next stage, so that its blocks are `COARSER` times
larger in µm; the coarsest stage has a single block. The fields of a stage's blocks are merged into one field, from
which the blocks of the next stage start. A large displacement is thus followed across the faces of the small blocks.
Their halo needs only the width of the error that the coarser stage leaves.

The field of a coarser stage has one node per voxel, as close as the nodes of the finest field. With wider nodes, the
next stage would have to undo the kinks of linear interpolation.

Only `deform` with `engine: gauss_newton` has coarser stages, since its parameters hold at any sampling. A finer stage
leaves out the levels of `deform` that are as coarse as the stage before it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from teralign.alignment.coarse_source import CoarseSource
from teralign.alignment.sources import ImageSource
from teralign.blockwise import BlockPlan, plan_blocks
from teralign.grids import FloatTriple, Grid, Region, Triple, as_triple
from teralign.progress import counted
from teralign.registration import DeformConfig, Image, StepConfig
from teralign.registration.config import is_gauss_newton
from teralign.transforms import FIELD_STRIDE

COARSER = 4  # a halo of 8 voxels follows what remains of a coarse voxel; decisions: coarse-to-fine-stages
_MIN_HALO = 8  # voxels, of blocks that overlap: closer to a face than a window, the metric sees fewer voxels
_MIN_STAGE_AXIS = 8  # voxels that remain along an axis in a coarser stage


class Readable(Protocol):
    """The fixed or moving image, at the sampling of a stage."""

    @property
    def grid(self) -> Grid:
        """The grid of the whole volume."""
        ...

    @property
    def box(self) -> Region:
        """The voxels of the region of interest; no other voxel counts."""
        ...

    def read(self, region: Region) -> Image:
        """Return the image of `region`, with its mask."""
        ...

    def masks_out(self, region: Region) -> bool:
        """Return whether the mask leaves no voxel of `region`."""
        ...

    @property
    def voxel_bytes(self) -> int:
        """Bytes read from disk for one voxel, before compression."""
        ...

    def digest(self) -> list[object]:
        """Return what identifies the voxels."""
        ...


@dataclass(frozen=True)
class BlockOptions:
    """The division of the fixed volume into blocks; None leaves a value to the configuration.

    `size` (z, y, x) is in voxels, and blocks reach `overlap` of it into their neighbours. The nodes of the field lie
    `field_spacing` (z, y, x) µm apart, rounded to whole voxels (default: every 4 voxels). The share of blocks that
    may fail is `max_failed`.
    """

    size: Triple | None = None
    overlap: float | None = None
    field_spacing: FloatTriple | None = None
    max_failed: float = 0.5

    def completed(self, size: Triple, overlap: float) -> BlockOptions:
        """Return the options with these values where None was given."""
        own = self.overlap
        return replace(self, size=self.size or size, overlap=overlap if own is None else own)


@dataclass(frozen=True)
class BlockLayout:
    """The blocks of a grid, and the nodes of the field, `strides` voxels (z, y, x) apart."""

    grid: Grid
    blocks: BlockPlan
    nodes: Grid
    strides: Triple

    @classmethod
    def of(cls, grid: Grid, field_spacing: FloatTriple | None, block_size: Triple, overlap: float) -> BlockLayout:
        """Cut `grid` into blocks of about `block_size` voxels, nodes `field_spacing` µm apart (default: 4 voxels)."""
        spacing = field_spacing or tuple(FIELD_STRIDE * s for s in grid.spacing)
        z, y, x = (max(1, round(f / s)) for f, s in zip(spacing, grid.spacing, strict=True))
        size = [max(b, s) for b, s in zip(block_size, (z, y, x), strict=True)]
        blocks = plan_blocks(grid.shape, size, overlap, multiple=(z, y, x), min_halo=_MIN_HALO)
        return cls(grid, blocks, grid.nodes((z, y, x)), (z, y, x))

    @property
    def block_extent(self) -> FloatTriple:
        """The size (z, y, x) of a usual block in µm."""
        return self.grid.crop(self.blocks.block((0, 0, 0)).core).extent


@dataclass(frozen=True)
class Stage:
    """One pass over all blocks; `suffix` is the end of its names in records, "" for the finest stage."""

    suffix: str
    fixed: Readable
    moving: Readable
    steps: Sequence[StepConfig]
    layout: BlockLayout

    @property
    def aligning(self) -> str:
        """The name of the records of aligned blocks."""
        return f"align{self.suffix}"

    @property
    def merging(self) -> str:
        """The name of the records of merged chunks."""
        return f"merge{self.suffix}"

    def digest(self) -> list[object]:
        """Return what the result depends on besides the user's steps."""
        blocks = self.layout.blocks
        return [self.fixed.digest(), self.moving.digest(), blocks.edges, blocks.halo, self.layout.strides]

    def described(self) -> dict[str, object]:
        """Return the stage as reports give it: voxels and blocks (z, y, x), and the steps as they act."""
        blocks = self.layout.blocks
        return {
            "stage": self.aligning,
            "spacing_um": self.layout.grid.spacing,
            "blocks": blocks.counts,
            "edges": blocks.edges,
            "halo": blocks.halo,
            "node_strides": self.layout.strides,
            "steps": described_steps(self.steps),
        }

    def sentence(self) -> str:
        """Return a description of the stage for the log."""
        layout = self.layout
        z, y, x = layout.blocks.counts
        return (
            f"{counted(len(layout.blocks), 'block')} ({z}×{y}×{x} along z, y, x), voxels of "
            f"{'×'.join(f'{s:g}' for s in layout.grid.spacing)} µm, a halo of {layout.blocks.halo} voxels, "
            f"field nodes every {layout.strides} voxels"
        )


def described_steps(steps: Sequence[StepConfig]) -> list[dict[str, object]]:
    """Return steps with their parameters, as reports and keys give them."""
    return [{"step": step.name, **step.model_dump(mode="json")} for step in steps]


def plan_stages(
    fixed: ImageSource,
    moving: ImageSource,
    steps: Sequence[StepConfig],
    blocks: BlockOptions,
) -> list[Stage]:
    """Return the stages, coarsest first; only the finest where it has one block, or no step can be coarser.

    `blocks` must have a size and an overlap.
    """
    block_size, overlap, field_spacing = blocks.size, blocks.overlap, blocks.field_spacing
    assert block_size is not None
    assert overlap is not None
    layouts = [BlockLayout.of(fixed.grid, field_spacing, block_size, overlap)]
    factors: list[Triple] = [(1, 1, 1)]
    deforms = [step for step in steps if is_gauss_newton(step)]
    while deforms and len(layouts[-1].blocks) > 1:
        wanted = _factors(fixed.grid, COARSER ** len(layouts))
        if wanted == factors[-1]:
            break
        factors.append(wanted)
        coarser = fixed.grid.downsample(wanted)
        layouts.append(BlockLayout.of(coarser, coarser.spacing, block_size, overlap))
    stages = [
        _coarse_stage(fixed, moving, deforms, layout, by, level=i, coarsest=len(layouts) - 1)
        for i, (layout, by) in enumerate(zip(layouts, factors, strict=True))
        if i > 0
    ]
    voxel = math.cbrt(math.prod(fixed.grid.spacing))
    previous = COARSER if stages else None
    finest = [
        step.at_stage(1, previous=previous).with_window_for(voxel) if is_gauss_newton(step) else step
        for step in steps
    ]
    stages.insert(0, Stage("", fixed, moving, finest, layouts[0]))
    return stages[::-1]


def _factors(grid: Grid, coarser: int) -> Triple:
    """Return the factors (z, y, x) that bring each axis closest to `coarser` times the finest spacing."""
    wanted = grid.factors_to(coarser * min(grid.spacing))
    return as_triple(min(f, max(1, n // _MIN_STAGE_AXIS)) for f, n in zip(wanted, grid.shape, strict=True))


def _coarse_stage(
    fixed: ImageSource,
    moving: ImageSource,
    deforms: Sequence[DeformConfig],
    layout: BlockLayout,
    factors: Triple,
    *,
    level: int,
    coarsest: int,
) -> Stage:
    coarser, previous = COARSER**level, COARSER ** (level + 1) if level < coarsest else None
    spacing = coarser * min(fixed.grid.spacing)
    return Stage(
        f"-{coarser}",
        CoarseSource.of(fixed, factors),
        CoarseSource.of(moving, moving.grid.factors_to(spacing)),
        [step.at_stage(coarser, previous=previous) for step in deforms],
        layout,
    )
