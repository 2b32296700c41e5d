"""`local-align`: blocks of the fixed volume, each aligned in memory, merged into one displacement field."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import teralign
from teralign.alignment import Side, StageRunner, open_source, plan_alignment, plan_stages
from teralign.blockwise import Workspace
from teralign.cluster import Compute
from teralign.configuration import load_config
from teralign.errors import InputError
from teralign.files import write_atomically
from teralign.grids import FloatTriple, Triple
from teralign.plans import CHECKED, SAMPLED
from teralign.tasks.inputs import check_new_file, refuse_existing
from teralign.transforms import StoredField, load_stack


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
    fixed_mask_labels: Sequence[int] | None = None,
    moving_mask_labels: Sequence[int] | None = None,
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
    dry_run: bool = False,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Refine `initial_transforms` block by block and write the displacement field that does it.

    The field u (a `.zarr` group on a grid of `field_spacing` µm, rounded to whole voxels) is applied before the
    initial transforms: x_moving = initial(x + u(x)). `block_size` (zyx) is in voxels, `block_overlap` a share of it.
    Blocks that fail are filled from their neighbours and counted; more than a share of `max_failed` raises
    AlignmentError. Beside the output, `NAME.blocks.json` tells the state and metrics of each block. Unfinished work
    lies in `work_dir`, and the same call goes on with it.

    Returns what was written and a summary, with `dry_run` what would be done. Raises InputError before any long work
    for bad input.
    """
    settings = load_config(config)
    plan = settings.steps("local_align", steps)
    source_fixed = open_source(
        "fixed", Side(fixed, fixed_spacing, fixed_channel, fixed_timepoint, fixed_mask, fixed_mask_labels)
    )
    source_moving = open_source(
        "moving", Side(moving, moving_spacing, moving_channel, moving_timepoint, moving_mask, moving_mask_labels)
    )
    start = load_stack(initial_transforms)
    if output.suffix != ".zarr":
        raise InputError(f"--output {output} must be a .zarr: it becomes a displacement field.")
    output = output.absolute()
    report = output.with_suffix(".blocks.json")
    for path in (output, report):
        refuse_existing(path, overwrite=overwrite)
    stages = plan_stages(
        source_fixed,
        source_moving,
        plan,
        block_size=block_size or settings.block_size,
        overlap=settings.block_overlap if block_overlap is None else block_overlap,
        field_spacing=field_spacing,
    )
    compute = Compute(scheduler, workers, worker_cpus, worker_mem_gb)
    planned = plan_alignment(str(output), stages, start, compute.capacity(), samples=SAMPLED if dry_run else CHECKED)
    if dry_run:
        return asdict(planned)
    for path in (output, report):
        check_new_file(path, overwrite=overwrite)
    key = {
        "task": "local-align",
        "version": teralign.__version__,
        "output": output.name,
        "fixed": source_fixed.digest(),
        "moving": source_moving.digest(),
        "start": start.digest(),
        "steps": [{"step": step.name, **step.model_dump(mode="json")} for step in plan],
        "stages": [stage.digest() for stage in stages],
        "seed": seed,
    }
    with Workspace.of(output, work_dir) as workspace:
        workspace.prepare(key, overwrite=False)
        with compute.connect() as client:
            runner = StageRunner(client, workspace, start, seed, threads)
            coarse: StoredField | None = None
            coarser = []
            for stage in stages[:-1]:
                built = workspace.output / f"coarse{stage.suffix}.zarr"
                found = runner.run(stage, coarse, built, max_failed=1.0)
                coarse = found.field
                coarser.append({"spacing": stage.layout.grid.spacing} | found.summary)
            found = runner.run(stages[-1], coarse, workspace.output / output.name, max_failed)
        result = {"output": str(output), "fixed": fixed, "moving": moving} | found.summary
        result |= {"coarser": coarser, "resumed": found.resumed, "seconds": round(found.seconds, 1)}
        workspace.finish(workspace.output / output.name, output, overwrite=overwrite)
    # After the output: a report without one would keep a run that was cut off here from going on.
    write_atomically(report, (json.dumps(result | {"records": found.records}, indent=1) + "\n").encode())
    return result | {"report": str(report)}
