"""`invert-transform`: the map back, from moving to fixed points."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from teralign.cluster import worker_threads
from teralign.errors import AlignmentError, InputError
from teralign.grids import Floats, Grid, Region, as_triple
from teralign.progress import Progress
from teralign.tasks.inputs import check_new_file, load_stack
from teralign.transforms import (
    Affine,
    Residual,
    Stack,
    StoredField,
    building_field,
    inverse_field,
    node_positions,
    round_trip,
)

log = logging.getLogger(__name__)


def invert_transform(
    *, transforms: Sequence[Path], output: Path, threads: int | None = None, overwrite: bool = False
) -> dict[str, Any]:
    """Write the inverse of `transforms` (files, outermost first) as one transform from moving to fixed points.

    Affines give a `.mat`. With a field among them the inverse is a field too, a `.zarr`, on a grid as fine as the
    field's that covers what the field's own grid is mapped to. It is computed and stored chunk by chunk.

    Returns the output and the residual of going there and back, in µm. Raises InputError for bad input,
    AlignmentError when there is no inverse.
    """
    stack = load_stack(transforms)
    affine = stack.affine
    suffixes = {".zarr"} if affine is None else {".mat", ".txt"}
    if output.suffix not in suffixes:
        raise InputError(f"--output {output} must end in {' or '.join(sorted(suffixes))} for these transforms.")
    check_new_file(output, overwrite=overwrite)
    threads = threads or worker_threads()
    try:
        if affine is not None:
            affine.inverse().save(output)
            residual, lost = Residual(0.0, 0.0, 0.0), 0
        else:
            residual, lost = _invert_to(stack, output, threads=threads, overwrite=overwrite)
    except ValueError as error:
        raise AlignmentError(f"the transforms cannot be inverted: {error}.") from error
    if lost:
        log.warning("%d nodes of the inverse have none and take their neighbours'", lost)
    return {"output": str(output), "residual_um": asdict(residual), "lost_nodes": lost}


def _invert_to(stack: Stack, output: Path, *, threads: int, overwrite: bool) -> tuple[Residual, int]:
    """Store the inverse; gives the residual of there and back, and the number of nodes without an inverse."""
    grid, lost = _moving_grid(stack), 0
    with building_field(output, grid, overwrite=overwrite) as writer:
        chunks = list(grid.region.split(writer.chunk_shape))
        progress = Progress(len(chunks), "inverse", log)
        for chunk in chunks:
            field, missing = inverse_field(stack, grid, region=chunk, threads=threads)
            writer.write(chunk, field.values)
            lost += missing
            progress.advance()
    return round_trip(stack, Stack((StoredField.open(output),)), grid, threads=threads), lost


def _moving_grid(stack: Stack) -> Grid:
    """A grid over what the innermost field's grid is mapped to, as fine as that."""
    nodes = [part.grid for part in stack.transforms if not isinstance(part, Affine)][-1]
    moved = [stack.map_points(points) for points in _faces(nodes)]
    low = np.min([m.min(axis=0) for m in moved], axis=0)
    high = np.max([m.max(axis=0) for m in moved], axis=0)
    z, y, x = (int(n) + 1 for n in np.ceil((high - low) / nodes.spacing))
    return Grid((z, y, x), nodes.spacing, (float(low[0]), float(low[1]), float(low[2])))


def _faces(grid: Grid) -> Iterator[Floats]:
    """The nodes (n, 3) of each face of the grid, in µm: their images bound the image of the whole."""
    for axis, count in enumerate(grid.shape):
        for at in (0, count - 1):
            start, stop = [0, 0, 0], list(grid.shape)
            start[axis], stop[axis] = at, at + 1
            yield node_positions(grid, Region(as_triple(start), as_triple(stop)))
