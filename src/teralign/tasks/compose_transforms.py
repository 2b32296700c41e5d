"""`compose-transforms`: a list of transforms as one affine, or as one field."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict, Unpack

from teralign.alignment import Side
from teralign.cluster import worker_threads
from teralign.errors import InputError
from teralign.grids import FloatTriple, Grid
from teralign.plans import Plan
from teralign.results import shallow, write_json
from teralign.tasks.new_transform import (
    SAMPLE_SECONDS,
    GridDescription,
    NewTransform,
    plan_copy,
    plan_field,
    run_of,
    sampler,
    write_field,
)
from teralign.tasks.node_grids import chosen_grid, open_fixed
from teralign.transforms import Residual, Stack, deviation, load_stack, map_ends


@dataclass(frozen=True)
class ComposedTransform:
    """The transform that was written, its grid (None for an affine), and the file with all this.

    `residual_um` is the distance between the images of points under the transform and under the list of transforms.
    """

    output: str
    transforms: Sequence[str]
    grid: GridDescription | None
    residual_um: Residual
    report: str


class ComposeOptions(TypedDict, total=False):
    """Options of `compose_transforms`.

    The nodes of a new field lie over the volume `fixed`, by default over the fields, `grid_spacing` µm (z, y, x)
    apart. `overwrite` replaces outputs that exist.
    """

    fixed: str | Path | Side | None
    grid_spacing: FloatTriple | None
    overwrite: bool


def compose_transforms(
    transforms: Sequence[str | Path],
    output: str | Path,
    *,
    threads: int | None = None,
    **options: Unpack[ComposeOptions],
) -> ComposedTransform:
    """Write `transforms` (files, outermost first) as one transform from fixed to moving points.

    Affines give a `.mat`, or a `.zarr` without a field. With a field among them the result is a field, a `.zarr`,
    made and stored chunk by chunk. `NAME.residual.json` beside it has its distance from the transforms, measured
    between its nodes.

    Raises InputError for bad input, before any long work.
    """
    stack, new, grid = _prepared(transforms, output, **options)
    overwrite = options.get("overwrite", False)
    new.check_writable(overwrite=overwrite)
    residual = Residual.none()
    if new.affine is not None:
        new.save_affine(ends=map_ends(transforms), overwrite=overwrite)
    elif grid is not None:
        threads = threads or worker_threads()
        sampled = sampler(stack, grid, threads=threads)
        ends = map_ends(transforms)
        field = write_field(new.output, grid, sampled, what="composition", ends=ends, overwrite=overwrite)
        residual = deviation(Stack((field,)), stack, grid, threads=threads)
    composed = ComposedTransform(
        output=str(output),
        transforms=[str(path) for path in transforms],
        grid=None if grid is None else GridDescription.of(grid),
        residual_um=residual,
        report=str(new.report),
    )
    run = run_of(transforms, options.get("fixed"), grid_spacing_um=options.get("grid_spacing"))
    write_json(new.report, {**shallow(composed), "run": run})
    return composed


def plan_compose_transforms(
    transforms: Sequence[str | Path],
    output: str | Path,
    *,
    threads: int | None = None,
    **options: Unpack[ComposeOptions],
) -> Plan:
    """Return the plan of `compose_transforms` with the same arguments; writes nothing."""
    stack, new, grid = _prepared(transforms, output, **options)
    if grid is None:
        return plan_copy(new.output, stack)
    return plan_field(
        new.output,
        stack,
        grid,
        what="composition",
        node_seconds=SAMPLE_SECONDS,
        threads=threads or worker_threads(),
    )


def _prepared(
    transforms: Sequence[str | Path],
    output: str | Path,
    *,
    fixed: str | Path | Side | None = None,
    grid_spacing: FloatTriple | None = None,
    overwrite: bool = False,
) -> tuple[Stack, NewTransform, Grid | None]:
    """Check the input; return the transforms, the place of the new one, and its nodes, None for an affine."""
    stack = load_stack(transforms)
    new = NewTransform.of(output, stack.affine, overwrite=overwrite)
    if new.affine is None:
        return stack, new, chosen_grid(stack, open_fixed(fixed), grid_spacing)
    if fixed is not None or grid_spacing is not None:
        raise InputError("affines make one affine, which has no grid; leave out --fixed and --grid-spacing.")
    return stack, new, None
