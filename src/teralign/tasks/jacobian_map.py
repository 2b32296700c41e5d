"""`jacobian-map`: the Jacobian determinant of a stack of transforms, the factor by which it scales volume."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypedDict, Unpack

import numpy as np
from numpy.typing import NDArray

import teralign
from teralign.alignment import Side
from teralign.cluster import Capacity, worker_threads
from teralign.errors import InputError
from teralign.evaluation import VolumeChange, VolumeChangeSummary
from teralign.filling import Filling, NewVolume, Part, fill_volume, plan_fill
from teralign.grids import FloatTriple, Grid, Region, Triple
from teralign.plans import Plan
from teralign.results import shallow, write_json
from teralign.tasks.inputs import check_new_file, refuse_existing
from teralign.tasks.new_transform import GridDescription, run_of
from teralign.tasks.node_grids import chosen_grid, grid_over_volume, open_fixed
from teralign.transforms import FIELD_CACHE_BYTES, NODE_BYTES, Stack, along_axes, load_stack, volume_change
from teralign.volumes import Directions, Volume, open_volume, plan_output, plan_volume, with_directions

_PIECE: Triple = (64, 64, 64)  # nodes whose positions are in memory at a time
_VOXEL_SECONDS = 0.3e-6  # CPU time of a node, under an affine and a field
_PIECE_NODE_BYTES = 150  # of a piece
_READ: Triple = (256, 256, 256)  # whole chunks, and shards


@dataclass(frozen=True)
class JacobianMap:
    """The map that was written, its grid, its statistics as in `VolumeChangeSummary`, and the file with all this."""

    output: str
    transforms: Sequence[str]
    grid: GridDescription
    min: float
    p1: float
    median: float
    p99: float
    folded_share: float
    report: str


class JacobianOptions(TypedDict, total=False):
    """Options of `jacobian_map`.

    The nodes lie over the volume `fixed`, by default over the fields, `grid_spacing` µm (z, y, x) apart. `ome_zarr`
    is the version of a .zarr output; `overwrite` replaces an output that exists.
    """

    fixed: str | Path | Side | None
    grid_spacing: FloatTriple | None
    ome_zarr: str | None
    overwrite: bool


def jacobian_map(
    transforms: Sequence[str | Path],
    output: str | Path,
    *,
    work_dir: str | Path | None = None,
    threads: int | None = None,
    **options: Unpack[JacobianOptions],
) -> JacobianMap:
    """Write the Jacobian determinant of `transforms` (files, outermost first) as a float32 volume with a pyramid.

    It has a value at each node of a grid. `NAME.summary.json` beside it has the minimum, percentiles, and the share
    of folds. The same call continues unfinished work, in `work_dir`.

    Raises InputError for bad input, before any long work.
    """
    filling, report = _filling(transforms, str(output), threads or worker_threads(), **options)
    check_new_file(report, overwrite=options.get("overwrite", False), what="output")
    fill_volume(filling, connect=nullcontext, work_dir=work_dir)
    change = _summary(open_volume(output))
    made = JacobianMap(
        output=str(output),
        transforms=[str(path) for path in transforms],
        grid=GridDescription.of(filling.layout.levels[0]),
        min=change.min,
        p1=change.p1,
        median=change.median,
        p99=change.p99,
        folded_share=change.folded_share,
        report=str(report),
    )
    run = run_of(transforms, options.get("fixed"), grid_spacing_um=options.get("grid_spacing"))
    write_json(report, {**shallow(made), "run": run})
    return made


def plan_jacobian_map(
    transforms: Sequence[str | Path],
    output: str | Path,
    *,
    work_dir: str | Path | None = None,
    threads: int | None = None,
    **options: Unpack[JacobianOptions],
) -> Plan:
    """Return the plan of `jacobian_map` with the same arguments; writes nothing."""
    threads = threads or worker_threads()
    return plan_fill(_filling(transforms, str(output), threads, **options)[0], Capacity.here(threads))


def _filling(
    transforms: Sequence[str | Path],
    output: str,
    threads: int,
    *,
    fixed: str | Path | Side | None = None,
    grid_spacing: FloatTriple | None = None,
    ome_zarr: str | None = None,
    overwrite: bool = False,
) -> tuple[Filling, Path]:
    """Return the volume to make and the path of its report, after all checks of the input."""
    stack = load_stack(transforms)
    volume = open_fixed(fixed)
    direction = None if volume is None else volume.direction
    if volume is None or direction is None:
        grid = chosen_grid(stack, volume, grid_spacing)
    else:  # along the volume's own axes, where D⁻¹ ∘ T ∘ D has the determinants of T
        grid, stack = grid_over_volume(volume.grid, None, grid_spacing), along_axes(stack, direction, direction)
    layout = plan_volume(output, grid=grid, dtype=np.float32, ome_zarr=ome_zarr)
    layout = with_directions(layout, output, Directions() if volume is None else volume.directions)
    target = plan_output(output, overwrite=overwrite)
    if not isinstance(target, Path):
        raise InputError(f"{output} is an address; the map and its summary are written to a disk, so name a path.")
    report = target.with_suffix(".summary.json")
    refuse_existing(report, overwrite=overwrite, what="output")
    key = {
        "task": "jacobian-map",
        "version": teralign.__version__,
        "grid": [grid.shape, grid.spacing, grid.origin],
        "transforms": stack.digest(),
    }
    destination = NewVolume(output, overwrite)
    return Filling(destination, _Determinants(stack, grid, threads), layout, "determinants", key), report


@dataclass(frozen=True)
class _Determinants:
    """Makes any write unit of the finest level; picklable."""

    stack: Stack
    grid: Grid
    threads: int

    def part(self, core: Region) -> Part:
        """Return how to make a unit, of the transforms alone."""
        return Part(core, core, partial(self._values, core))

    @property
    def voxel_bytes(self) -> int:
        """The bytes of the fields for each node: the fields are read whole."""
        fields = self.stack.grids
        spaces = [math.prod(field.spacing) / math.prod(self.grid.spacing) for field in fields]
        return round(sum(NODE_BYTES / space for space in spaces))

    @property
    def voxel_seconds(self) -> float:
        """The CPU time of a node."""
        return _VOXEL_SECONDS

    @property
    def hint(self) -> str:
        """None: it works in this process, whose memory has no limit."""
        return ""

    def part_bytes(self, part: Part) -> int:
        """Return the bytes of the determinants, of a piece in the making, and of decoded chunks of fields."""
        return 4 * part.core.size + _PIECE_NODE_BYTES * math.prod(_PIECE) + FIELD_CACHE_BYTES

    def _values(self, core: Region, _timepoint: int) -> list[NDArray[np.float32]]:
        """Return the determinants of a region, computed piece by piece."""
        determinants = np.empty(core.shape, np.float32)
        for piece in core.split(_PIECE):
            found = volume_change(self.stack, self.grid, piece, threads=self.threads)
            determinants[piece.relative_to(core).slices] = found
        return [determinants]


def _summary(volume: Volume) -> VolumeChangeSummary:
    change = VolumeChange()
    for region in volume.grid.region.split(_READ):
        change.add(np.asarray(volume.read(region), dtype=np.float32))
    return change.summary()
