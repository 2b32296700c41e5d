"""What a command would do, told before it does anything: blocks, bytes, and the memory of a worker.

Bytes are those of voxels before compression. A worker's memory is what a task holds at most: what it reads, what it
makes, the second level, and what writing a unit takes, which was measured as six times the unit (`_WRITING`).
"""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from teralign.tasks.fill_volume import Part, VoxelSource, fill_volume
from teralign.tasks.units import WriteUnits
from teralign.volumes import Layout, family_shape, plan_output

if TYPE_CHECKING:
    from distributed import Client

log = logging.getLogger(__name__)

WORKER_BYTES = (200 + 64) << 20  # a worker with its libraries, and decoded chunks of images
_WRITING = 6
_SAMPLED = 200


class PlannedSource(VoxelSource, Protocol):
    """Where voxels come from, with what that takes."""

    @property
    def voxel_bytes(self) -> int:
        """What a voxel of the input takes, all channels that are read of it."""
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
    layout: Layout,
    connect: Callable[[], AbstractContextManager[Client | None]],
    work_dir: Path | None,
    dry_run: bool,
    overwrite: bool,
) -> dict[str, Any]:
    """What `fill_volume` has written, or with `dry_run` what it would write."""
    if dry_run:
        return plan_fill(uri, source, layout, stage=stage, overwrite=overwrite)
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


def plan_fill(uri: str, source: PlannedSource, layout: Layout, *, stage: str, overwrite: bool) -> dict[str, Any]:
    """What `fill_volume` would do with the same arguments; nothing is written.

    Bytes read of a volume of very many blocks are estimated from a sample of them. Raises InputError when the output
    cannot be written.
    """
    plan_output(uri, overwrite=overwrite)
    finest = layout.levels[0]
    families = WriteUnits(finest.shape, family_shape(layout.write_shape, layout.factors))
    later = {
        f"level-{level}": len(WriteUnits(grid.shape, layout.write_shape))
        for level, grid in enumerate(layout.levels)
        if level > 1
    }
    images = layout.channels * layout.timepoints
    sizes = [math.prod(grid.shape) * layout.dtype.itemsize * images for grid in layout.levels]
    step = -(-len(families) // _SAMPLED)
    sampled = list(itertools.islice(finest.region.split(families.unit), step // 2, None, step))
    parts = [part for family in sampled for core in family.split(layout.write_shape) if (part := source.part(core))]
    share = sum(family.size for family in sampled) / finest.region.size
    read = sum(part.needed.size for part in parts) * source.voxel_bytes * layout.timepoints
    unit = math.prod(layout.write_shape) * layout.dtype.itemsize
    held = max((source.held(part) for part in parts), default=0)
    return {
        "dry_run": True,
        "output": uri,
        "blocks": {stage: len(families), **later},
        "read_bytes": round(read / share) + sum(sizes[1:-1]),
        "write_bytes": sum(sizes),
        "worker_memory_bytes": WORKER_BYTES + held + (layout.channels + _WRITING) * unit,
    }
