"""`compose-transforms`: a stack as one affine, or as one field."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from teralign.cluster import worker_threads
from teralign.errors import InputError
from teralign.grids import FloatTriple
from teralign.tasks.new_transform import (
    SAMPLE_SECONDS,
    GridDescription,
    check_new_transform,
    plan_affine,
    plan_field,
    sampler,
    write_field,
    write_report,
)
from teralign.tasks.node_grids import chosen_grid, fixed_grid
from teralign.transforms import Residual, Stack, deviation, load_stack


def compose_transforms(
    transforms: Sequence[Path],
    output: Path,
    *,
    fixed: str | None = None,
    fixed_spacing: FloatTriple | None = None,
    grid_spacing: FloatTriple | None = None,
    threads: int | None = None,
    dry_run: bool = False,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Write `transforms` (files, outermost first) as one transform from fixed to moving points.

    Affines give a `.mat`. With a field among them the result is a field, a `.zarr`, with nodes over the volume
    `fixed`, or over what the fields cover, `grid_spacing` µm (z, y, x) apart. It is made and stored chunk by chunk.
    Beside it, `NAME.residual.json` tells how far it is from the stack between its nodes.

    Returns what the report holds, with `dry_run` what would be done. Raises InputError for bad input.
    """
    stack = load_stack(transforms)
    affine = stack.affine
    report = check_new_transform(output, affine, overwrite=overwrite, dry_run=dry_run)
    result: dict[str, Any] = {"output": str(output), "transforms": [str(path) for path in transforms]}
    if affine is not None:
        if fixed is not None or grid_spacing is not None:
            raise InputError("affines make one affine, which has no grid; leave out --fixed and --grid-spacing.")
        if dry_run:
            return asdict(plan_affine(output))
        affine.save(output)
        return write_report(report, result | {"residual_um": asdict(Residual.none())})
    grid = chosen_grid(stack, fixed_grid(fixed, fixed_spacing), grid_spacing)
    threads = threads or worker_threads()
    if dry_run:
        return asdict(
            plan_field(output, stack, grid, what="composition", node_seconds=SAMPLE_SECONDS, threads=threads)
        )
    sampled = sampler(stack, grid, threads=threads)
    field = write_field(output, grid, sampled, what="composition", overwrite=overwrite)
    residual = deviation(Stack((field,)), stack, grid, threads=threads)
    return write_report(report, result | {"grid": GridDescription.of(grid), "residual_um": asdict(residual)})
