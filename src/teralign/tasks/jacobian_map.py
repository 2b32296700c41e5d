"""`jacobian-map`: by what factor a stack of transforms scales volume, everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import teralign
from teralign.blockwise import Workspace, run_blocks
from teralign.cluster import worker_threads
from teralign.grids import FloatTriple, Triple
from teralign.report import VolumeChange
from teralign.tasks.apply_transform import LevelBuilder
from teralign.tasks.inputs import check_new_file, load_stack
from teralign.tasks.new_transform import described, write_report
from teralign.tasks.node_grids import chosen_grid, fixed_grid
from teralign.tasks.units import WriteUnit, WriteUnits
from teralign.transforms import Stack, volume_change
from teralign.volumes import VolumeWriter, check_output, create_volume, split_uri

_PIECE: Triple = (64, 64, 64)  # nodes whose positions are in memory at a time


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
    report = check_new_file(target.with_suffix(".summary.json"), overwrite=overwrite, what="output")
    key = {
        "task": "jacobian-map",
        "version": teralign.__version__,
        "grid": [grid.shape, grid.spacing, grid.origin],
        "transforms": stack.digest(),
    }
    _, dataset = split_uri(output)
    with Workspace(work_dir or target.with_name(target.name + ".partial")) as workspace:
        workspace.prepare(key)
        built = workspace.output / target.name
        writer = create_volume(built / dataset, grid=grid, dtype=np.float32, resume=True)
        mapper = Mapper(stack, writer, threads or worker_threads())
        units = WriteUnits(grid.shape, writer.write_shape)
        run_blocks(mapper, units, client=None, workspace=workspace, stage="determinants")
        for level in range(1, len(writer.levels)):
            units = WriteUnits(writer.levels[level].shape, writer.write_shape)
            builder = LevelBuilder(writer, level, channels=1, timepoints=1)
            run_blocks(builder, units, client=None, workspace=workspace, stage=f"level-{level}")
        summary = _summary(writer)
        workspace.finish(built, target, overwrite=overwrite)
    result = {"output": output, "transforms": [str(path) for path in transforms], "grid": described(grid)}
    return write_report(report, result | summary)


@dataclass(frozen=True)
class Mapper:
    """Makes any write unit of the finest level."""

    stack: Stack
    writer: VolumeWriter
    threads: int

    def __call__(self, unit: WriteUnit) -> dict[str, Any]:
        """Compute the determinants piece by piece, and write them."""
        determinants = np.empty(unit.core.shape, np.float32)
        for piece in unit.core.split(_PIECE):
            found = volume_change(self.stack, self.writer.levels[0], piece, threads=self.threads)
            determinants[piece.relative_to(unit.core).slices] = found
        self.writer.write(unit.core, determinants)
        return {"state": "ok"}


def _summary(writer: VolumeWriter) -> dict[str, float]:
    spread = VolumeChange()
    for unit in writer.levels[0].region.split(writer.write_shape):
        spread.add(writer.read(unit))
    return spread.summary()
