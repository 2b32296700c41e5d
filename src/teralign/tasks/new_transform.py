"""Transforms that commands make out of others: an affine, or a field chunk by chunk, with a report beside it."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike

from teralign.errors import InputError
from teralign.files import write_atomically
from teralign.grids import Grid, Region, Triple, reverse_axes
from teralign.progress import Progress
from teralign.tasks.inputs import check_new_file
from teralign.transforms import Affine, DisplacementField, Stack, StoredField, as_field, building_field

log = logging.getLogger(__name__)

ChunkMaker = Callable[[Region], DisplacementField]
"""Makes the nodes of one region of a field."""


class ChunkWriter(Protocol):
    """A field in the making, written by whole chunks."""

    @property
    def chunk_shape(self) -> Triple:
        """Nodes (z, y, x) of a chunk."""
        ...

    def write(self, region: Region, values: ArrayLike) -> None:
        """Store the (z, y, x, 3) displacements in µm of a region of whole chunks."""
        ...


def check_new_transform(output: Path, affine: Affine | None, *, overwrite: bool) -> Path:
    """Make sure that a transform can be written, as an affine or, for None, as a field, and give its report's path.

    Raises InputError when the ending is that of another kind, or something is there.
    """
    suffixes = {".zarr"} if affine is None else {".mat", ".txt"}
    if output.suffix not in suffixes:
        raise InputError(f"the output {output} must end in {' or '.join(sorted(suffixes))} for these transforms.")
    report = output.with_suffix(".residual.json")
    for path in (output, report):
        check_new_file(path, overwrite=overwrite, what="output")
    return report


def write_field(output: Path, grid: Grid, make: ChunkMaker, *, what: str, overwrite: bool) -> StoredField:
    """Store the field that `make` gives for each chunk of `grid`, with `what` as the name of the work in the log."""
    with building_field(output, grid, overwrite=overwrite) as writer:
        write_chunks(writer, grid, make, what=what)
    return StoredField.open(output)


def write_chunks(writer: ChunkWriter, grid: Grid, make: ChunkMaker, *, what: str) -> None:
    """Write all chunks of a field that is being built, as `write_field` does."""
    chunks = list(grid.region.split(writer.chunk_shape))
    progress = Progress(len(chunks), what, log)
    for chunk in chunks:
        writer.write(chunk, make(chunk).values)
        progress.advance()


def sampler(stack: Stack, grid: Grid, *, threads: int) -> ChunkMaker:
    """What makes the regions of the field that does, at the nodes of `grid`, what `stack` does."""

    def sampled(region: Region) -> DisplacementField:
        box = grid.crop(region)
        near = stack.load(box.origin, box.to_physical(np.array(box.shape) - 1))  # read once, not tile by tile
        return as_field(near, grid, region=region, threads=threads)

    return sampled


def described(grid: Grid) -> dict[str, Any]:
    """A grid as reports give it: (x, y, z), µm."""
    return {
        "shape": reverse_axes(grid.shape),
        "spacing_um": reverse_axes(grid.spacing),
        "origin_um": reverse_axes(grid.origin),
    }


def write_report(report: Path, result: dict[str, Any]) -> dict[str, Any]:
    """Write `result` as JSON, and give it with the path of that file."""
    write_atomically(report, (json.dumps(result, indent=1) + "\n").encode())
    return result | {"report": str(report)}
