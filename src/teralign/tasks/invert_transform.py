"""`invert-transform`: the map back, from moving to fixed points."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from teralign.cluster import worker_threads
from teralign.errors import AlignmentError, InputError
from teralign.grids import Grid
from teralign.tasks.inputs import check_new_file, load_stack
from teralign.transforms import Affine, Stack, invert, save_field

log = logging.getLogger(__name__)


def invert_transform(
    *, transforms: Sequence[Path], output: Path, threads: int | None = None, overwrite: bool = False
) -> dict[str, Any]:
    """Write the inverse of `transforms` (files, outermost first) as one transform from moving to fixed points.

    Affines give a `.mat`. With a field among them the inverse is a field too, a `.zarr`, on a grid as fine as the
    field's that covers what the field's own grid is mapped to.

    Returns the output and the residual of going there and back, in µm. Raises InputError for bad input,
    AlignmentError when there is no inverse.
    """
    stack = load_stack(transforms)
    suffixes = {".zarr"} if stack.affine is None else {".mat", ".txt"}
    if output.suffix not in suffixes:
        raise InputError(f"--output {output} must end in {' or '.join(sorted(suffixes))} for these transforms.")
    check_new_file(output, overwrite=overwrite)
    try:
        inverse = invert(stack, _moving_grid(stack), threads=threads or worker_threads())
    except ValueError as error:
        raise AlignmentError(f"the transforms cannot be inverted: {error}.") from error
    if inverse.lost_nodes:
        log.warning("%d nodes of the inverse have none and take their neighbours'", inverse.lost_nodes)
    if isinstance(inverse.transform, Affine):
        inverse.transform.save(output)
    else:
        save_field(output, inverse.transform, overwrite=overwrite)
    return {"output": str(output), "residual_um": asdict(inverse.residual), "lost_nodes": inverse.lost_nodes}


def _moving_grid(stack: Stack) -> Grid | None:
    """A grid over what the innermost field's grid is mapped to, as fine as that; None when there is no field."""
    fields = [part.grid for part in stack.transforms if not isinstance(part, Affine)]
    if not fields:
        return None
    nodes = fields[-1]
    moved = stack.map_points(_shell(nodes))
    low, high = moved.min(axis=0), moved.max(axis=0)
    z, y, x = (int(n) + 1 for n in np.ceil((high - low) / nodes.spacing))
    return Grid((z, y, x), nodes.spacing, tuple(low))


def _shell(grid: Grid) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The nodes (n, 3) on the six faces of the grid, in µm: their images bound the image of the whole."""
    index = np.indices(grid.shape).reshape(3, -1).T
    outermost = (index == 0) | (index == np.array(grid.shape) - 1)
    return grid.to_physical(index[outermost.any(axis=1)])
