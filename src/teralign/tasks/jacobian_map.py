"""`jacobian-map`: by what factor a stack of transforms scales volume, everywhere."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import teralign
from teralign.cluster import Capacity, worker_threads
from teralign.errors import InputError
from teralign.filling import Part, fill_volume, plan_fill
from teralign.grids import FloatTriple, Grid, Region, Triple
from teralign.plans import SAMPLED
from teralign.report import VolumeChange
from teralign.tasks.inputs import check_new_file, refuse_existing
from teralign.tasks.new_transform import described, write_report
from teralign.tasks.node_grids import chosen_grid, fixed_grid
from teralign.transforms import FIELD_CACHE_BYTES, Stack, load_stack, volume_change
from teralign.volumes import Volume, open_volume, plan_output, plan_volume

_PIECE: Triple = (64, 64, 64)  # nodes whose positions are in memory at a time
_STAGE = "determinants"
_VOXEL_SECONDS = 0.3e-6  # CPU time of a node, under an affine and a field
_BYTES_A_NODE = 150  # of a piece
_READ: Triple = (256, 256, 256)  # whole chunks, and shards


def jacobian_map(
    transforms: Sequence[Path],
    output: str,
    *,
    fixed: str | None = None,
    fixed_spacing: FloatTriple | None = None,
    grid_spacing: FloatTriple | None = None,
    ome_zarr: str | None = None,
    work_dir: Path | None = None,
    threads: int | None = None,
    dry_run: bool = False,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Write the Jacobian determinant of `transforms` (files, outermost first) as a float32 volume with a pyramid.

    It has a value at each node of a grid over the volume `fixed`, or over what the fields cover, `grid_spacing` µm
    (z, y, x) apart. It lies in `work_dir` until it is whole, so that the same call goes on where another stopped.
    Beside it, `NAME.summary.json` has its least value, percentiles, and the share that is folded.

    Returns what the summary holds, with `dry_run` what would be done. Raises InputError before any long
    work for bad input.
    """
    stack = load_stack(transforms)
    grid = chosen_grid(stack, fixed_grid(fixed, fixed_spacing), grid_spacing)
    threads = threads or worker_threads()
    source = _Determinants(stack, grid, threads)
    layout = plan_volume(output, grid=grid, dtype=np.float32, ome_zarr=ome_zarr)
    target = plan_output(output, overwrite=overwrite)
    if not isinstance(target, Path):
        raise InputError(f"{output} is an address; the map and its summary are written to a disk, so name a path.")
    report = target.with_suffix(".summary.json")
    refuse_existing(report, overwrite=overwrite, what="output")
    if dry_run:
        here = Capacity.here(threads)
        plan = plan_fill(output, source, layout, stage=_STAGE, capacity=here, overwrite=overwrite, samples=SAMPLED)
        return asdict(plan)
    check_new_file(report, overwrite=overwrite, what="output")
    key = {
        "task": "jacobian-map",
        "version": teralign.__version__,
        "grid": [grid.shape, grid.spacing, grid.origin],
        "transforms": stack.digest(),
    }
    fill_volume(
        output,
        source,
        stage=_STAGE,
        key=key,
        layout=layout,
        connect=nullcontext,
        work_dir=work_dir,
        overwrite=overwrite,
    )
    summary = _summary(open_volume(output))
    result = {"output": output, "transforms": [str(path) for path in transforms], "grid": described(grid)}
    return write_report(report, result | summary)


@dataclass(frozen=True)
class _Determinants:
    """Makes any write unit of the finest level; picklable."""

    stack: Stack
    grid: Grid
    threads: int

    def part(self, core: Region) -> Part:
        """Its values are made of the transforms alone."""
        return Part(core, core, partial(self._values, core))

    @property
    def voxel_bytes(self) -> int:
        """What is read of the fields for a node: as much of them as there is."""
        fields = self.stack.grids
        spaces = [math.prod(field.spacing) / math.prod(self.grid.spacing) for field in fields]
        return round(sum(3 * 4 / space for space in spaces))

    @property
    def voxel_seconds(self) -> float:
        """The CPU time of a node."""
        return _VOXEL_SECONDS

    @property
    def remedy(self) -> str:
        """It works in the process that asks, whose memory nobody limits."""
        return ""

    def held(self, part: Part) -> int:
        """The bytes of the determinants, of a piece in the making, and of decoded chunks of fields."""
        return 4 * part.core.size + _BYTES_A_NODE * math.prod(_PIECE) + FIELD_CACHE_BYTES

    def _values(self, core: Region, _timepoint: int) -> list[NDArray[np.float32]]:
        """The determinants of a region, computed piece by piece."""
        determinants = np.empty(core.shape, np.float32)
        for piece in core.split(_PIECE):
            found = volume_change(self.stack, self.grid, piece, threads=self.threads)
            determinants[piece.relative_to(core).slices] = found
        return [determinants]


def _summary(volume: Volume) -> dict[str, float]:
    spread = VolumeChange()
    for region in volume.grid.region.split(_READ):
        spread.add(volume.read(region))
    return spread.summary()
