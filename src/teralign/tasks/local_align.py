"""`local-align`: blocks of the fixed volume, each aligned in memory, merged into one displacement field."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import teralign
from teralign.blockwise import BlockPlan, Workspace, plan_blocks, run_blocks
from teralign.cluster import connect
from teralign.errors import InputError
from teralign.files import write_atomically
from teralign.grids import FloatTriple, Grid, Triple
from teralign.registration import load_config
from teralign.tasks.align_block import STAGE, BlockAligner
from teralign.tasks.inputs import check_new_file, load_stack, open_source
from teralign.tasks.merge_field import FieldMerger, UsableBlocks, find_outliers
from teralign.tasks.units import WriteUnits
from teralign.transforms import FIELD_STRIDE, create_field

if TYPE_CHECKING:
    from distributed import Client

log = logging.getLogger(__name__)

MERGE_STAGE = "merge"
_REPORTED = (
    *("block", "state", "reason", "error", "metric_before", "metric_after"),
    *("min_jacobian", "displacement", "seconds"),
)


def local_align(
    fixed: str,
    moving: str,
    *,
    output: Path,
    initial_transforms: Sequence[Path] = (),
    steps: Sequence[str] | None = None,
    config: Path | None = None,
    block_size: Triple | None = None,
    block_overlap: float | None = None,
    field_spacing: FloatTriple | None = None,
    max_failed: float = 0.5,
    fixed_mask: str | None = None,
    moving_mask: str | None = None,
    fixed_spacing: FloatTriple | None = None,
    moving_spacing: FloatTriple | None = None,
    fixed_channel: int = 0,
    moving_channel: int = 0,
    fixed_timepoint: int = 0,
    moving_timepoint: int = 0,
    scheduler: str | None = None,
    workers: int | None = None,
    worker_cpus: int | None = None,
    worker_mem_gb: float | None = None,
    work_dir: Path | None = None,
    seed: int = 0,
    threads: int | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Refine `initial_transforms` block by block and write the displacement field that does it.

    The field u (a `.zarr` group on a grid of `field_spacing` µm, rounded to whole voxels) is applied before the
    initial transforms: x_moving = initial(x + u(x)). `block_size` (zyx) is in voxels, `block_overlap` a share of it.
    Blocks that fail are filled from their neighbours and counted; more than a share of `max_failed` raises
    AlignmentError. Beside the output, `NAME.blocks.json` tells the state and metrics of each block. Unfinished work
    lies in `work_dir`, and the same call goes on with it.

    Returns what was written and a summary. Raises InputError before any long work for bad input.
    """
    settings = load_config(config)
    plan = settings.steps("local_align", steps)
    source_fixed = open_source(
        "fixed",
        fixed,
        spacing=fixed_spacing,
        channel=fixed_channel,
        timepoint=fixed_timepoint,
        mask=fixed_mask,
    )
    source_moving = open_source(
        "moving",
        moving,
        spacing=moving_spacing,
        channel=moving_channel,
        timepoint=moving_timepoint,
        mask=moving_mask,
    )
    start = load_stack(initial_transforms)
    if output.suffix != ".zarr":
        raise InputError(f"--output {output} must be a .zarr: it becomes a displacement field.")
    output = output.absolute()
    report = output.with_suffix(".blocks.json")
    for path in (output, report):
        check_new_file(path, overwrite=overwrite)
    layout = _Layout.of(
        source_fixed.grid,
        field_spacing,
        block_size or settings.block_size,
        settings.block_overlap if block_overlap is None else block_overlap,
    )
    key = {
        "task": "local-align",
        "version": teralign.__version__,
        "fixed": source_fixed.digest(),
        "moving": source_moving.digest(),
        "start": start.digest(),
        "steps": [{"step": step.name, **step.model_dump(mode="json")} for step in plan],
        "blocks": [layout.blocks.edges, layout.blocks.halo],
        "strides": layout.strides,
        "seed": seed,
    }
    with Workspace(work_dir or output.with_name(output.name + ".partial")) as workspace:
        workspace.prepare(key, overwrite=False)
        with connect(scheduler, workers, worker_cpus, worker_mem_gb) as client:
            aligner = BlockAligner(
                source_fixed, source_moving, plan, start, layout.nodes, layout.strides, seed, threads, workspace
            )
            summary = run_blocks(
                aligner, layout.blocks, client=client, workspace=workspace, stage=STAGE, max_failed=max_failed
            )
            usable, records = _screen(layout, workspace)
            _merge(layout, usable, client, workspace, workspace.output / output.name)
        result = _summarise(records, workspace) | {"resumed": summary.resumed, "seconds": round(summary.seconds, 1)}
        result = {"output": str(output), "fixed": fixed, "moving": moving} | result
        workspace.finish(workspace.output / output.name, output, overwrite=overwrite)
    # After the output: a report without one would keep a run that was cut off here from going on.
    write_atomically(report, (json.dumps(result | {"records": records}, indent=1) + "\n").encode())
    return result | {"report": str(report)}


@dataclass(frozen=True)
class _Layout:
    """How the fixed grid is cut: its blocks, and the nodes of the field, `strides` voxels apart."""

    grid: Grid
    blocks: BlockPlan
    nodes: Grid
    strides: Triple

    @classmethod
    def of(cls, grid: Grid, field_spacing: FloatTriple | None, block_size: Triple, overlap: float) -> _Layout:
        spacing = field_spacing or tuple(FIELD_STRIDE * s for s in grid.spacing)
        z, y, x = (max(1, round(f / s)) for f, s in zip(spacing, grid.spacing, strict=True))
        size = [max(b, s) for b, s in zip(block_size, (z, y, x), strict=True)]
        blocks = plan_blocks(grid.shape, size, overlap, multiple=(z, y, x))
        log.info(
            "%d blocks (%s along zyx) with a halo of %s voxels; field nodes %s voxels apart",
            len(blocks),
            "×".join(str(n) for n in blocks.counts),
            blocks.halo,
            (z, y, x),
        )
        return cls(grid, blocks, grid.coarsen((z, y, x)), (z, y, x))

    @property
    def block_extent(self) -> FloatTriple:
        """The size of a usual block in µm."""
        return self.grid.crop(self.blocks.block((0, 0, 0)).core).extent


def _screen(layout: _Layout, workspace: Workspace) -> tuple[Path, list[dict[str, Any]]]:
    """Find outliers among the blocks; gives the file of those to use, and all records with their final states."""
    records = [{k: r[k] for k in _REPORTED if k in r} for r in workspace.records(STAGE)]
    good = [r for r in records if "displacement" in r]
    index = {block.name: block.index for block in layout.blocks}
    blocks = UsableBlocks(
        np.array([index[r["block"]] for r in good], dtype=np.int64).reshape(-1, 3),
        np.array([r["displacement"] for r in good], dtype=np.float64).reshape(-1, 3),
    )
    outlier = find_outliers(blocks, layout.block_extent)
    for record, bad in zip(good, outlier, strict=True):
        if bad:
            record.update(state="outlier", reason="its displacement disagrees wildly with its neighbours'")
            log.warning("block %s disagrees wildly with its neighbours and is replaced by them", record["block"])
    path = workspace.payload(MERGE_STAGE, "usable")
    UsableBlocks(blocks.index[~outlier], blocks.displacement[~outlier]).save(path)
    return path, records


def _merge(layout: _Layout, usable: Path, client: Client, workspace: Workspace, built: Path) -> None:
    writer = create_field(built, layout.nodes, resume=True)
    merger = FieldMerger(layout.blocks, layout.grid, layout.nodes, layout.strides, usable, workspace, writer)
    units = WriteUnits(layout.nodes.shape, writer.chunk_shape)
    run_blocks(merger, units, client=client, workspace=workspace, stage=MERGE_STAGE)
    writer.finish()


def _summarise(records: list[dict[str, Any]], workspace: Workspace) -> dict[str, Any]:
    """Counts by state, the metric before and after, and how the merged field squeezes space."""
    states = Counter(r["state"] for r in records)
    chunks = list(workspace.records(MERGE_STAGE))
    return {
        "blocks": len(records),
        "states": dict(sorted(states.items())),
        "metric_before": _median(r.get("metric_before") for r in records),
        "metric_after": _median(r.get("metric_after") for r in records),
        "min_jacobian": min(c["min_jacobian"] for c in chunks),
        "folded_share": sum(c["folded"] for c in chunks) / len(chunks),
    }


def _median(values: Any) -> float | None:  # noqa: ANN401 - whatever JSON held
    known = [v for v in values if v is not None]
    return float(np.median(known)) if known else None
