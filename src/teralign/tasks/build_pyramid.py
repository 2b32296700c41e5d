"""`build-pyramid`: coarser scales for an image that has none."""

from __future__ import annotations

import logging
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import teralign
from teralign.addresses import absolute_uri
from teralign.blockwise import Workspace, WriteUnits
from teralign.cluster import Capacity, Compute
from teralign.errors import InputError
from teralign.filling import WRITING, make_levels, stored_files
from teralign.grids import FloatTriple
from teralign.plans import START_SECONDS, WORKER_BYTES, Plan
from teralign.volumes import Extension, Volume, open_volume
from teralign.volumes.pyramid import plan_levels

log = logging.getLogger(__name__)

_VOXEL_SECONDS = 0.057e-6  # CPU time of a voxel of a level: 0.95 s for 256³ made of 512³, read and written


def build_pyramid(
    volume: str,
    *,
    spacing: FloatTriple | None = None,
    levels: int | None = None,
    label: bool = False,
    scheduler: str | None = None,
    workers: int | None = None,
    worker_cpus: int | None = None,
    worker_mem_gb: float | None = None,
    work_dir: Path | None = None,
    dry_run: bool = False,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Add coarser levels to an OME-Zarr image or an N5 group, made of its finest one; the finest is not touched.

    `levels` counts the finest, None is as many as bring the longest side to 256 voxels. They are built in `work_dir`,
    and named in the metadata when all are in place. `spacing` (z, y, x) in µm says which axes to halve where the
    metadata do not; it is not stored. `overwrite` replaces coarser levels that are there.

    Returns what was written, with `dry_run` what would be. Raises InputError before any long work for bad input.
    """
    source = open_volume(absolute_uri(volume), spacing=spacing)
    extension = Extension.of(source)
    if len(plan_levels(source.grid, levels)[0]) == 1:
        raise InputError(f"{volume} needs no coarser scales to be small; say how many it should have by --levels.")
    if extension.existing and not overwrite:
        names = ", ".join(sorted({path.name for path in extension.existing}))
        raise InputError(f"{volume} has the scales {names} already; add --overwrite to make them again.")
    compute = Compute(scheduler, workers, worker_cpus, worker_mem_gb)
    plan = _plan(source, extension, levels, compute.capacity())
    if dry_run:
        return asdict(plan)
    key = {
        "task": "build-pyramid",
        "version": teralign.__version__,
        "volume": source.digest(),
        "levels": levels,
        "label": label,
    }
    container = extension.container
    with Workspace(work_dir or container.with_name(container.name + ".partial")) as workspace:
        workspace.prepare(key)
        writer = extension.create(workspace.output, levels=levels, label=label)
        with compute.connect() as client:
            made = make_levels(writer, range(1, len(writer.levels)), client, workspace)
        writer.finish(stored_files(workspace, [summary.stage for summary in made]), finest=1)
        extension.publish(workspace.output, writer, workspace.place)
        workspace.remove()
    log.info("%s has %d scales", volume, len(writer.levels))
    return {
        "volume": volume,
        "levels": len(writer.levels),
        "units": sum(summary.total for summary in made),
        "resumed": sum(summary.resumed for summary in made),
    }


def _plan(source: Volume, extension: Extension, levels: int | None, capacity: Capacity) -> Plan:
    """Return the plan; InputError when a block is too large for a worker."""
    grids = plan_levels(source.grid, levels)[0]
    unit, chunk = extension.shapes
    blocks = {f"level-{n}": len(WriteUnits(grid.shape, unit)) for n, grid in enumerate(grids) if n}
    images, item = source.channels * source.timepoints, source.dtype.itemsize
    sizes = [math.prod(grid.shape) * images for grid in grids]
    made = sum(sizes[1:])
    slab = math.prod((chunk[0], *unit[1:]))  # made at once, of eight times as many voxels, and in floats
    plan = Plan(
        output=source.uri,
        blocks=blocks,
        read_bytes=sum(sizes[:-1]) * item,
        write_bytes=made * item,
        worker_memory_bytes=WORKER_BYTES + (1 + WRITING) * math.prod(unit) * item + 8 * slab * (item + 1),
        estimated_seconds=round(START_SECONDS + capacity.seconds(made * _VOXEL_SECONDS, sum(blocks.values()))),
    )
    return plan.checked(capacity)
