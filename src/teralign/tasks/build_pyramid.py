"""`build-pyramid`: add coarser scales to an image without any."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict, Unpack

import teralign
from teralign.addresses import absolute_uri
from teralign.blockwise import Workspace, WriteUnits, block_name
from teralign.cluster import Capacity, Compute
from teralign.errors import InputError
from teralign.filling import WRITING, make_levels, stored_files
from teralign.grids import FloatTriple
from teralign.plans import START_SECONDS, WORKER_BYTES, Plan
from teralign.progress import counted
from teralign.volumes import Extension, Volume, open_volume
from teralign.volumes.pyramid import plan_levels

log = logging.getLogger(__name__)

_VOXEL_SECONDS = 0.057e-6  # CPU time of a voxel of a level: 0.95 s for 256³ made of 512³, read and written


@dataclass(frozen=True)
class Pyramid:
    """The volume with its number of levels; the write units of the new levels, and those resumed."""

    volume: str
    levels: int
    units: int
    resumed: int


class PyramidOptions(TypedDict, total=False):
    """Options of `build_pyramid`.

    `spacing` (z, y, x) in µm says which axes to halve where the metadata do not; it is not stored. `levels` counts
    the finest; by default as many as bring the longest side to 256 voxels. `label` takes the most frequent value
    instead of the mean; `overwrite` replaces coarser levels that exist.
    """

    spacing: FloatTriple | None
    levels: int | None
    label: bool
    overwrite: bool


def build_pyramid(volume: str | Path, *, compute: Compute = Compute(), **options: Unpack[PyramidOptions]) -> Pyramid:
    """Add coarser levels to an OME-Zarr image or an N5 group, made of its finest one, which does not change.

    They are built in `compute.work_dir` and named in the metadata when all are in place.

    Raises InputError for bad input, before any long work.
    """
    source, extension = _opened(str(volume), **options)
    levels, label = options.get("levels"), options.get("label", False)
    _plan(source, extension, levels, compute.capacity())
    key = {
        "task": "build-pyramid",
        "version": teralign.__version__,
        "volume": source.digest(),
        "levels": levels,
        "label": label,
    }
    container = extension.container
    with Workspace(compute.work_dir or container.with_name(container.name + ".partial")) as workspace:
        workspace.prepare(key)
        writer = extension.create(workspace.output, levels=levels, label=label)
        with compute.connect() as client:
            made = make_levels(writer, range(1, len(writer.levels)), client, workspace)
        writer.finish(stored_files(workspace, [summary.stage for summary in made]), finest=1)
        extension.publish(workspace.output, writer, workspace.place)
        workspace.remove()
    log.info("%s has %s", volume, counted(len(writer.levels), "scale"))
    return Pyramid(
        volume=str(volume),
        levels=len(writer.levels),
        units=sum(summary.total for summary in made),
        resumed=sum(summary.resumed for summary in made),
    )


def plan_build_pyramid(
    volume: str | Path, *, compute: Compute = Compute(), **options: Unpack[PyramidOptions]
) -> Plan:
    """Return the plan of `build_pyramid` with the same arguments; writes nothing."""
    source, extension = _opened(str(volume), **options)
    return _plan(source, extension, options.get("levels"), compute.capacity())


def _opened(
    volume: str,
    *,
    spacing: FloatTriple | None = None,
    levels: int | None = None,
    label: bool = False,
    overwrite: bool = False,
) -> tuple[Volume, Extension]:
    """Return the volume and its extension by coarser levels, after all checks of the input."""
    source = open_volume(absolute_uri(volume), spacing=spacing)
    extension = Extension.of(source)
    if len(plan_levels(source.grid, levels)[0]) == 1:
        raise InputError(f"{volume} is small enough without coarser scales; to add some, give --levels.")
    if extension.existing and not overwrite:
        names = ", ".join(sorted({path.name for path in extension.existing}))
        raise InputError(f"{volume} has the scales {names} already; add --overwrite to make them again.")
    return source, extension


def _plan(source: Volume, extension: Extension, levels: int | None, capacity: Capacity) -> Plan:
    """Return the plan; InputError when a block is too large for a worker."""
    grids = plan_levels(source.grid, levels)[0]
    unit, chunk = extension.shapes
    blocks = {f"level-{n}": len(WriteUnits(grid.shape, unit)) for n, grid in enumerate(grids) if n}
    images, item = source.channels * source.timepoints, source.dtype.itemsize
    sizes = [math.prod(grid.shape) * images for grid in grids]
    made = sum(sizes[1:])
    slab = math.prod((chunk[0], *unit[1:]))  # made at a time, of eight times as many voxels, in floats
    plan = Plan(
        output=source.uri,
        blocks=blocks,
        read_bytes=sum(sizes[:-1]) * item,
        write_bytes=made * item,
        worker_memory_bytes=WORKER_BYTES + (1 + WRITING) * math.prod(unit) * item + 8 * slab * (item + 1),
        estimated_seconds=round(START_SECONDS + capacity.seconds(made * _VOXEL_SECONDS, sum(blocks.values()))),
        largest_block=f"{block_name((0, 0, 0))} of level-1",
    )
    return plan.checked(capacity)
