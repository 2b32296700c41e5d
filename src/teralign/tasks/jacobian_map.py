"""`jacobian-map`: by what factor a stack of transforms scales volume, everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import teralign
from teralign.cluster import worker_threads
from teralign.errors import InputError
from teralign.grids import FloatTriple, Grid, Region, Triple
from teralign.report import VolumeChange
from teralign.tasks.fill_volume import Part, fill_volume
from teralign.tasks.inputs import check_new_file, load_stack
from teralign.tasks.new_transform import described, write_report
from teralign.tasks.node_grids import chosen_grid, fixed_grid
from teralign.transforms import Stack, volume_change
from teralign.volumes import Volume, check_output, open_volume, plan_volume

_PIECE: Triple = (64, 64, 64)  # nodes whose positions are in memory at a time
_READ: Triple = (256, 256, 256)  # whole chunks, and shards


def jacobian_map(
    transforms: Sequence[Path],
    output: str,
    *,
    fixed: str | None = None,
    fixed_spacing: FloatTriple | None = None,
    grid_spacing: FloatTriple | None = None,
    work_dir: Path | None = None,
    threads: int | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Write the Jacobian determinant of `transforms` (files, outermost first) as a float32 volume with a pyramid.

    It has a value at each node of a grid over the volume `fixed`, or over what the fields cover, `grid_spacing` µm
    (z, y, x) apart. It lies in `work_dir` until it is whole, so that the same call goes on where another stopped.
    Beside it, `NAME.summary.json` has its least value, percentiles, and the share that is folded.

    Returns what the summary holds. Raises InputError before any long work for bad input.
    """
    stack = load_stack(transforms)
    grid = chosen_grid(stack, fixed_grid(fixed, fixed_spacing), grid_spacing)
    target = check_output(output, overwrite=overwrite)
    if not isinstance(target, Path):
        raise InputError(f"{output} is an address; the map and its summary are written to a disk, so name a path.")
    report = check_new_file(target.with_suffix(".summary.json"), overwrite=overwrite, what="output")
    key = {
        "task": "jacobian-map",
        "version": teralign.__version__,
        "grid": [grid.shape, grid.spacing, grid.origin],
        "transforms": stack.digest(),
    }
    source = _Determinants(stack, grid, threads or worker_threads())
    layout = plan_volume(output, grid=grid, dtype=np.float32)
    fill_volume(
        output,
        source,
        stage="determinants",
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
