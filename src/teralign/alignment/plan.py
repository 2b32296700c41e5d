"""The plan of `local-align`.

The region that a block reads of the moving volume follows from the initial transforms alone, since the fields of the
coarser stages are not known yet. Memory and time were measured with the steps' defaults. Memory is that of a worker
with its libraries and compiled code, plus bytes for each voxel that a block reads of both volumes. The time of each
step has a constant part, and a part that grows with the voxels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from teralign.alignment.align_block import moving_region, search_box
from teralign.alignment.stages import BlockLayout, BlockOptions, Stage
from teralign.blockwise import Block, WriteUnits
from teralign.cluster import Capacity
from teralign.grids import Grid, Region
from teralign.plans import START_SECONDS, WORKER_BYTES, Plan
from teralign.registration import StepConfig
from teralign.registration.config import is_gauss_newton
from teralign.transforms import CHUNK_SHAPE, NODE_BYTES, Stack

_COMPILED = 264 << 20  # bytes of compiled code and of the compiler
_BYTES_A_VOXEL = 24
# CPU seconds of a block, and of a fixed voxel that it reads: blocks of 64³ and 128³ voxels of demo data, one thread.
# The values of deform are from whole runs, with reading, judging and merging.
_STEP_SECONDS = {
    "ransac": (0.3, 1.0e-6),
    "random": (7.6, 0.0),
    "rigid": (0.4, 0.3e-6),
    "affine": (0.3, 0.35e-6),
    "deform": (0.1, 1.05e-6),
}
_SEEN = 2_000_000  # voxels: of larger images the linear steps use samples, or coarser voxels
_SIMPLEITK_DEFORM = (0.0, 33e-6)  # 104 CPU-s on 128×128×192 voxels


def plan_alignment(output: str, stages: Sequence[Stage], initial: Stack, capacity: Capacity, *, samples: int) -> Plan:
    """Return the plan of an alignment in blocks; writes nothing.

    At most `samples` blocks of each stage are examined. Raises InputError when a block is too large for a worker.
    """
    plans = [_StagePlan.of(stage, initial, samples, refining=number > 0) for number, stage in enumerate(stages)]
    largest = max(plans, key=lambda plan: plan.block_voxels)
    seconds = START_SECONDS + sum(capacity.seconds(plan.cpu_seconds, plan.aligned) for plan in plans)
    return Plan(
        output=output,
        blocks={name: count for plan in plans for name, count in plan.blocks.items()},
        read_bytes=sum(plan.read for plan in plans),
        write_bytes=sum(plan.written for plan in plans),
        worker_memory_bytes=alignment_bytes(largest.block_voxels),
        estimated_seconds=round(seconds),
        largest_block=largest.largest,
    ).checked(capacity, "smaller blocks (--block-size)")


def alignment_bytes(voxels: int) -> int:
    """Return the memory of a process that aligns images of so many voxels, fixed and moving together."""
    return WORKER_BYTES + _COMPILED + _BYTES_A_VOXEL * voxels


def fixed_alignment_bytes(grid: Grid, options: BlockOptions) -> tuple[int, str]:
    """Return the bytes that the largest block of a fixed image takes without the moving one, and the block's name.

    `options` have a size and an overlap.
    """
    assert options.size is not None
    assert options.overlap is not None
    layout = BlockLayout.of(grid, options.field_spacing, options.size, options.overlap)
    block = layout.blocks.largest()
    return alignment_bytes(block.region.size), block.name


def step_seconds(steps: Sequence[StepConfig], blocks: int, voxels: int) -> float:
    """Return the CPU seconds of steps on so many blocks, which read so many fixed voxels together."""
    seconds = 0.0
    for step in steps:
        deforms = step.name == "deform"
        of_block, of_voxel = _STEP_SECONDS[step.name] if not deforms or is_gauss_newton(step) else _SIMPLEITK_DEFORM
        seconds += blocks * of_block + (voxels if deforms else min(voxels, blocks * _SEEN)) * of_voxel
    return seconds


@dataclass(frozen=True)
class _StagePlan:
    """Blocks by stage, the blocks to align, bytes read and written, the largest block and CPU seconds.

    `block_voxels` is no less than what any block reads of both volumes; `largest` names the one that reads the most.
    """

    blocks: dict[str, int]
    aligned: int
    read: int
    written: int
    block_voxels: int
    largest: str
    cpu_seconds: float

    @classmethod
    def of(cls, stage: Stage, initial: Stack, samples: int, *, refining: bool) -> _StagePlan:
        layout, box = stage.layout, stage.fixed.box
        aligned, fixed, largest = _fixed_voxels(layout, box)
        sampled = _sampled(layout, box, samples)
        moving = [_moving_voxels(stage, initial, block.region, refining=refining) for block in sampled]
        of_both = [block.region.size + voxels for block, voxels in zip(sampled, moving, strict=True)]
        all_moving = round(sum(moving) / len(moving) * aligned)
        nodes = math.prod(layout.nodes.shape) + fixed // math.prod(layout.strides)  # merged, and block by block
        merged = WriteUnits(layout.nodes.shape, CHUNK_SHAPE)
        return cls(
            blocks={stage.aligning: len(layout.blocks), stage.merging: len(merged)},
            aligned=aligned,
            read=fixed * stage.fixed.voxel_bytes + all_moving * stage.moving.voxel_bytes,
            written=nodes * NODE_BYTES,
            block_voxels=largest + max(moving),
            largest=f"{sampled[of_both.index(max(of_both))].name} of {stage.aligning}",
            cpu_seconds=step_seconds(stage.steps, aligned, fixed),
        )


def _fixed_voxels(layout: BlockLayout, box: Region) -> tuple[int, int, int]:
    """Return the blocks that touch the region of interest, the voxels they read of it, and those of the largest one.

    Halos count in each block; in memory a block also has its voxels outside the region of interest.
    """
    sides = []
    for axis, (edges, halo, n) in enumerate(
        zip(layout.blocks.edges, layout.blocks.halo, layout.grid.shape, strict=True)
    ):
        ends = [(max(a - halo, 0), min(b + halo, n)) for a, b in pairwise(edges)]
        inside = (min(b, box.stop[axis]) - max(a, box.start[axis]) for a, b in ends)
        sides.append([length for length in inside if length > 0])
    return (
        math.prod(len(side) for side in sides),
        math.prod(sum(side) for side in sides),
        layout.blocks.largest().region.size,
    )


def _sampled(layout: BlockLayout, box: Region, samples: int) -> list[Block]:
    """Return some blocks, spread evenly over all that touch the region of interest."""
    blocks = layout.blocks if box == layout.grid.region else layout.blocks.touching(box)
    step = -(-len(blocks) // samples)
    return [blocks[i] for i in range(step // 2, len(blocks), step)]


def _moving_voxels(stage: Stage, initial: Stack, region: Region, *, refining: bool) -> int:
    low, high = search_box(stage.layout.grid.crop(region), refining=refining)
    return moving_region(stage.moving, initial, low, high)[1].size
