"""What a command would do, told before it does anything: blocks, bytes, the memory of a worker, and the time.

Bytes are those of voxels before compression. A worker's memory is what a task holds at most: what it reads, what it
makes, the second level, and what writing a unit takes, which was measured as six times the unit (`WRITING`). Time is
the CPU time that was measured for a voxel, on the cores that there are: about what it will be, where files are as
fast as cores.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from teralign.blockwise import WriteUnits
from teralign.cluster import Capacity
from teralign.filling.fill import Part, VoxelSource, fill_volume
from teralign.plans import CHECKED, SAMPLED, START_SECONDS, WORKER_BYTES, Plan
from teralign.volumes import PyramidLayout, family_shape, is_one_file, pieces, plan_output

if TYPE_CHECKING:
    from distributed import Client

log = logging.getLogger(__name__)

WRITING = 6


class PlannedSource(VoxelSource, Protocol):
    """Where voxels come from, with what that takes."""

    @property
    def voxel_bytes(self) -> int:
        """What a voxel of the input takes, all channels that are read of it."""
        ...

    @property
    def voxel_seconds(self) -> float:
        """The CPU time of a voxel of the output in one channel, with its share of the levels."""
        ...

    @property
    def remedy(self) -> str:
        """The option that makes its blocks take less memory, for a message; empty where there is none."""
        ...

    def held(self, part: Part) -> int:
        """The bytes that are in memory at once while a part is made."""
        ...


def fill_or_plan(
    uri: str,
    source: PlannedSource,
    *,
    stage: str,
    key: Mapping[str, object],
    layout: PyramidLayout,
    connect: Callable[[], AbstractContextManager[Client | None]],
    capacity: Capacity,
    work_dir: Path | None,
    dry_run: bool,
    overwrite: bool,
) -> dict[str, Any]:
    """What `fill_volume` has written, or with `dry_run` what it would write.

    Raises InputError when a block is too large for a worker of `capacity`.
    """
    plan = plan_fill(
        uri,
        source,
        layout,
        stage=stage,
        capacity=capacity,
        overwrite=overwrite,
        samples=SAMPLED if dry_run else CHECKED,
    )
    if dry_run:
        return asdict(plan)
    summary = fill_volume(
        uri,
        source,
        stage=stage,
        key=key,
        layout=layout,
        connect=connect,
        work_dir=work_dir,
        overwrite=overwrite,
    )
    log.info("wrote %s", uri)
    return {"output": uri, "channels": layout.channels, "timepoints": layout.timepoints} | summary


def plan_fill(
    uri: str,
    source: PlannedSource,
    layout: PyramidLayout,
    *,
    stage: str,
    capacity: Capacity,
    overwrite: bool,
    samples: int,
) -> Plan:
    """What `fill_volume` would do with the same arguments on the workers of `capacity`; nothing is written.

    What is read of a volume of more blocks than `samples` is estimated from so many of them. Raises InputError when
    the output cannot be written, or a block is too large for a worker.
    """
    one_file = is_one_file(plan_output(uri, overwrite=overwrite))
    finest = layout.levels[0]
    families = WriteUnits(finest.shape, family_shape(layout.write_shape, layout.factors))
    later = {
        f"level-{level}": len(WriteUnits(grid.shape, layout.write_shape))
        for level, grid in enumerate(layout.levels)
        if level > 1
    }
    images = layout.channels * layout.timepoints
    if one_file:
        later["file"] = images * sum(1 for _ in pieces(layout))
    sampled = [family.core for family in families.sample(samples)]
    parts = [part for family in sampled for core in family.split(layout.write_shape) if (part := source.part(core))]
    share = sum(family.size for family in sampled) / finest.region.size
    sizes = [math.prod(grid.shape) * layout.dtype.itemsize * images for grid in layout.levels]
    copied = sizes[0] if one_file else 0
    read = sum(part.needed.size for part in parts) * source.voxel_bytes * layout.timepoints
    made = sum(part.core.size for part in parts) * images
    unit = math.prod(layout.write_shape) * layout.dtype.itemsize
    held = max((source.held(part) for part in parts), default=0)
    seconds = START_SECONDS + capacity.seconds(made / share * source.voxel_seconds, len(families))
    return Plan(
        output=uri,
        blocks={stage: len(families), **later},
        read_bytes=round(read / share) + sum(sizes[1:-1]) + copied,
        write_bytes=sum(sizes) + copied,
        worker_memory_bytes=WORKER_BYTES + held + (layout.channels + WRITING) * unit,
        estimated_seconds=round(seconds),
    ).checked(capacity, source.remedy)
