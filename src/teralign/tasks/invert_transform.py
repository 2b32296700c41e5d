"""`invert-transform`: the inverse map, from moving to fixed points."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from teralign.cluster import worker_threads
from teralign.errors import AlignmentError
from teralign.grids import Grid, Region
from teralign.plans import Plan
from teralign.progress import counted
from teralign.results import shallow, write_json
from teralign.tasks.new_transform import GridDescription, NewTransform, plan_copy, plan_field, run_of, write_field
from teralign.tasks.node_grids import reached_grid
from teralign.transforms import (
    DisplacementField,
    Ends,
    Residual,
    Stack,
    inverse_field,
    load_stack,
    map_ends,
    round_trip,
)

log = logging.getLogger(__name__)

_NODE_SECONDS = 0.7e-6  # CPU time of a node: demo data, under an affine and a field


@dataclass(frozen=True)
class InvertedTransform:
    """The inverse that was written, its grid (None for an affine), and the file with all this.

    `residual_um` is the distance between points and their images there and back. At `lost_nodes` of the nodes, a
    share of `lost_share`, no inverse was found: they have the displacement of their neighbours.
    """

    output: str
    transforms: Sequence[str]
    grid: GridDescription | None
    residual_um: Residual
    lost_nodes: int
    lost_share: float
    report: str


def invert_transform(
    transforms: Sequence[str | Path],
    output: str | Path,
    *,
    threads: int | None = None,
    overwrite: bool = False,
) -> InvertedTransform:
    """Write the inverse of `transforms` (files, outermost first) as one transform from moving to fixed points.

    Affines give a `.mat`, or a `.zarr` without a field. With a field among them the inverse is a field too, a
    `.zarr`, with the spacing of the finest field, over the image of the innermost field's grid. It is computed and
    stored chunk by chunk, beside a copy of `transforms`: together they are a bijection. `NAME.residual.json` has its
    accuracy.

    Raises InputError for bad input, AlignmentError when there is no inverse.
    """
    stack = load_stack(transforms)
    new = NewTransform.of(output, stack.affine, overwrite=overwrite)
    new.check_writable(overwrite=overwrite)
    grid, residual, lost = None, Residual.none(), 0
    try:
        if new.affine is not None:
            inverse = NewTransform(new.output, new.affine.inverse())
            inverse.save_affine(ends=_swapped(map_ends(transforms)), overwrite=overwrite)
        else:
            grid = reached_grid(stack)
            threads = threads or worker_threads()
            ends = _swapped(map_ends(transforms))
            residual, lost = _write_inverse(stack, new.output, grid, ends=ends, threads=threads, overwrite=overwrite)
    except ValueError as error:
        raise AlignmentError(f"the transforms cannot be inverted: {error}.") from error
    if lost:
        log.warning("%s without an inverse: the displacement of the neighbours is taken", counted(lost, "node"))
    inverted = InvertedTransform(
        output=str(output),
        transforms=[str(path) for path in transforms],
        grid=None if grid is None else GridDescription.of(grid),
        residual_um=residual,
        lost_nodes=lost,
        lost_share=0.0 if grid is None else lost / grid.region.size,
        report=str(new.report),
    )
    write_json(new.report, {**shallow(inverted), "run": run_of(transforms, None)})
    return inverted


def plan_invert_transform(
    transforms: Sequence[str | Path],
    output: str | Path,
    *,
    threads: int | None = None,
    overwrite: bool = False,
) -> Plan:
    """Return the plan of `invert_transform` with the same arguments; writes nothing."""
    stack = load_stack(transforms)
    new = NewTransform.of(output, stack.affine, overwrite=overwrite)
    if new.affine is not None:
        return plan_copy(new.output, stack)
    threads = threads or worker_threads()
    plan = plan_field(
        new.output, stack, reached_grid(stack), what="inverse", node_seconds=_NODE_SECONDS, threads=threads
    )
    return replace(plan, write_bytes=plan.write_bytes + plan_copy(new.output, stack).write_bytes)


def _swapped(ends: Ends) -> Ends:
    return ends[1], ends[0]


def _write_inverse(
    stack: Stack, output: Path, grid: Grid, *, ends: Ends, threads: int, overwrite: bool
) -> tuple[Residual, int]:
    """Store the inverse on `grid`, beside the map that it inverts.

    Return the residual of there and back, and the number of nodes without inverse.
    """
    lost = 0

    def inverted(chunk: Region) -> DisplacementField:
        nonlocal lost
        field, missing = inverse_field(stack, grid, region=chunk, threads=threads)
        lost += missing
        return field

    field = write_field(
        output, grid, inverted, what="inverse", ends=ends, inverse=stack.simplified(), overwrite=overwrite
    )
    inverse = Stack((field,))
    return round_trip(stack, inverse, grid, threads=threads), lost
