"""`invert-transform`: the map back, from moving to fixed points."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from teralign.cluster import worker_threads
from teralign.errors import AlignmentError
from teralign.grids import Region
from teralign.tasks.new_transform import (
    GridDescription,
    check_new_transform,
    plan_affine,
    plan_field,
    write_field,
    write_report,
)
from teralign.tasks.node_grids import reached_grid
from teralign.transforms import DisplacementField, Residual, Stack, inverse_field, load_stack, round_trip

log = logging.getLogger(__name__)

_NODE_SECONDS = 0.7e-6  # CPU time of a node: demo data, under an affine and a field


def invert_transform(
    *,
    transforms: Sequence[Path],
    output: Path,
    threads: int | None = None,
    dry_run: bool = False,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Write the inverse of `transforms` (files, outermost first) as one transform from moving to fixed points.

    Affines give a `.mat`. With a field among them the inverse is a field too, a `.zarr`, on a grid as fine as the
    finest field's that covers what the innermost field's own grid is mapped to. It is computed and stored chunk by
    chunk. Beside it, `NAME.residual.json` tells the residual of going there and back, in µm, and at which share of
    its nodes no inverse was found.

    Returns what the report holds, with `dry_run` what would be done. Raises InputError for bad input,
    AlignmentError when there is no inverse.
    """
    stack = load_stack(transforms)
    affine = stack.affine
    report = check_new_transform(output, affine, overwrite=overwrite, dry_run=dry_run)
    threads = threads or worker_threads()
    if dry_run:
        if affine is not None:
            return asdict(plan_affine(output))
        grid = reached_grid(stack)
        return asdict(plan_field(output, stack, grid, what="inverse", node_seconds=_NODE_SECONDS, threads=threads))
    result: dict[str, Any] = {"output": str(output), "transforms": [str(path) for path in transforms]}
    try:
        if affine is not None:
            affine.inverse().save(output)
            found: dict[str, Any] = {"residual_um": asdict(Residual.none()), "lost_nodes": 0, "lost_share": 0.0}
        else:
            found = _invert_to(stack, output, threads=threads, overwrite=overwrite)
    except ValueError as error:
        raise AlignmentError(f"the transforms cannot be inverted: {error}.") from error
    if found["lost_nodes"]:
        log.warning("%d nodes of the inverse have none and take their neighbours'", found["lost_nodes"])
    return write_report(report, result | found)


def _invert_to(stack: Stack, output: Path, *, threads: int, overwrite: bool) -> dict[str, Any]:
    """Store the inverse; gives its grid, the residual of there and back, and how many nodes have no inverse."""
    grid, lost = reached_grid(stack), 0

    def inverted(chunk: Region) -> DisplacementField:
        nonlocal lost
        field, missing = inverse_field(stack, grid, region=chunk, threads=threads)
        lost += missing
        return field

    inverse = Stack((write_field(output, grid, inverted, what="inverse", overwrite=overwrite),))
    residual = round_trip(stack, inverse, grid, threads=threads)
    return {
        "grid": GridDescription.of(grid),
        "residual_um": asdict(residual),
        "lost_nodes": lost,
        "lost_share": lost / grid.region.size,
    }
