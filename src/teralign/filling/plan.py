"""The plan of a volume to make: blocks, bytes, memory of a worker and time.

A worker's memory is the most that a task holds: the input it reads, the units it makes, the second level, and what
writing a unit takes, measured as six times the unit (`WRITING`).
"""

from __future__ import annotations

import logging
import math

from teralign.blockwise import WriteUnits
from teralign.cluster import Capacity, Compute
from teralign.filling.filling import Filled, Filling, fill_volume
from teralign.plans import CHECKED, SAMPLED, START_SECONDS, WORKER_BYTES, Plan
from teralign.volumes import batch_shape, pieces

log = logging.getLogger(__name__)

WRITING = 6


def fill(filling: Filling, compute: Compute) -> Filled:
    """Write a volume on the workers of `compute`. Raises InputError when a block is too large for one of them."""
    plan_fill(filling, compute.capacity(), samples=CHECKED)
    filled = fill_volume(filling, connect=compute.connect, work_dir=compute.work_dir)
    log.info("wrote %s", filling.destination.uri)
    return filled


def plan_fill(filling: Filling, capacity: Capacity, *, samples: int = SAMPLED) -> Plan:
    """Return the plan of `fill_volume` on the workers of `capacity`; writes nothing.

    The bytes read are estimated from `samples` blocks, spread evenly over all. Raises InputError when the output
    cannot be written, or a block is too large for a worker.
    """
    source, layout = filling.source, filling.layout
    filling.destination.check()
    one_file = filling.destination.is_one_file
    finest = layout.levels[0]
    batches = WriteUnits(finest.shape, batch_shape(layout.write_shape, layout.factors))
    later = {
        f"level-{level}": len(WriteUnits(grid.shape, layout.write_shape))
        for level, grid in enumerate(layout.levels)
        if level > 1
    }
    images = layout.channels * layout.timepoints
    if one_file:
        later["file"] = images * sum(1 for _ in pieces(layout))
    sampled = batches.sample(samples)
    named = [
        (part, batch.name)
        for batch in sampled
        for core in batch.core.split(layout.write_shape)
        if (part := source.part(core))
    ]
    parts = [part for part, _ in named]
    share = sum(batch.core.size for batch in sampled) / finest.region.size
    sizes = [math.prod(grid.shape) * layout.dtype.itemsize * images for grid in layout.levels]
    copied = sizes[0] if one_file else 0
    read = sum(part.needed.size for part in parts) * source.voxel_bytes * layout.timepoints
    made = sum(part.core.size for part in parts) * images
    unit = math.prod(layout.write_shape) * layout.dtype.itemsize
    sizes_of_parts = [(source.part_bytes(part), name) for part, name in named] or [(0, sampled[0].name)]
    largest, name = max(sizes_of_parts, key=lambda found: found[0])
    seconds = START_SECONDS + capacity.seconds(made / share * source.voxel_seconds, len(batches))
    return Plan(
        output=filling.destination.uri,
        blocks={filling.stage: len(batches), **later},
        read_bytes=round(read / share) + sum(sizes[1:-1]) + copied,
        write_bytes=sum(sizes) + copied,
        worker_memory_bytes=WORKER_BYTES + largest + (layout.channels + WRITING) * unit,
        estimated_seconds=round(seconds),
        largest_block=f"{name} of {filling.stage}",
    ).checked(capacity, source.hint)
