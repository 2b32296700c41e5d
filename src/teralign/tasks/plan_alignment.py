"""What `local-align` would do, told before it does anything.

Bytes are those of voxels before compression; what a block reads of the moving volume follows from the initial
transforms alone, since nothing is known yet of what coarser stages will find. A worker's memory was measured with the
steps' defaults: a worker with its libraries and what is compiled, and bytes for each voxel that a block reads of both
volumes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from teralign.grids import Region
from teralign.tasks.align_block import moving_region, search_box
from teralign.tasks.dry_run import WORKER_BYTES
from teralign.tasks.stages import Layout, Stage
from teralign.tasks.units import WriteUnits
from teralign.transforms import CHUNK_SHAPE, Stack

_COMPILED = 200 << 20
_BYTES_A_VOXEL = 24
_NODE_BYTES = 3 * 4
_SAMPLED = 200


def plan_alignment(stages: Sequence[Stage], initial: Stack) -> dict[str, Any]:
    """Blocks of each stage, bytes to read and to write, and the memory of a worker; nothing is written."""
    plans = [_StagePlan.of(stage, initial, refining=number > 0) for number, stage in enumerate(stages)]
    held = max(plan.voxels_held for plan in plans)
    return {
        "blocks": {name: count for plan in plans for name, count in plan.blocks.items()},
        "read_bytes": sum(plan.read for plan in plans),
        "write_bytes": sum(plan.written for plan in plans),
        "worker_memory_bytes": WORKER_BYTES + _COMPILED + _BYTES_A_VOXEL * held,
    }


@dataclass(frozen=True)
class _StagePlan:
    """Blocks by stage, bytes read and written by all of them, and the voxels that one block holds at most."""

    blocks: dict[str, int]
    read: int
    written: int
    voxels_held: int

    @classmethod
    def of(cls, stage: Stage, initial: Stack, *, refining: bool) -> _StagePlan:
        layout = stage.layout
        fixed, most = _fixed_voxels(layout)
        moving = [_moving_voxels(stage, initial, region, refining=refining) for region in _sampled(layout)]
        all_moving = round(sum(moving) / len(moving) * len(layout.blocks))
        nodes = math.prod(layout.nodes.shape) + fixed // math.prod(layout.strides)  # merged, and block by block
        merged = WriteUnits(layout.nodes.shape, CHUNK_SHAPE)
        return cls(
            blocks={stage.aligning: len(layout.blocks), stage.merging: len(merged)},
            read=fixed * stage.fixed.voxel_bytes + all_moving * stage.moving.voxel_bytes,
            written=nodes * _NODE_BYTES,
            voxels_held=most + max(moving),
        )


def _fixed_voxels(layout: Layout) -> tuple[int, int]:
    """The voxels that all blocks read of the fixed volume, and those of the largest; halos count in each block."""
    sides = [
        [min(b + halo, n) - max(a - halo, 0) for a, b in pairwise(edges)]
        for edges, halo, n in zip(layout.blocks.edges, layout.blocks.halo, layout.grid.shape, strict=True)
    ]
    return math.prod(sum(side) for side in sides), math.prod(max(side) for side in sides)


def _sampled(layout: Layout) -> list[Region]:
    """What some of the blocks read, spread evenly over all."""
    blocks = layout.blocks
    step = -(-len(blocks) // _SAMPLED)
    return [blocks[i].region for i in range(step // 2, len(blocks), step)]


def _moving_voxels(stage: Stage, initial: Stack, region: Region, *, refining: bool) -> int:
    low, high = search_box(stage.layout.grid.crop(region), refining=refining)
    return moving_region(stage.moving.grid, initial, low, high)[1].size
