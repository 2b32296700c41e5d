"""Transforms made of other transforms: an affine, or a field made chunk by chunk, with a report beside it."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from teralign.alignment import Side
from teralign.blockwise import WriteUnits
from teralign.cluster import Capacity
from teralign.errors import InputError
from teralign.grids import Grid, Region, Triple, reverse_axes
from teralign.plans import WORKER_BYTES, Plan
from teralign.progress import Progress
from teralign.provenance import Run, own_name
from teralign.tasks.inputs import check_new_file, refuse_existing
from teralign.transforms import (
    CHUNK_SHAPE,
    FIELD_CACHE_BYTES,
    NODE_BYTES,
    Affine,
    DisplacementField,
    Ends,
    Stack,
    StoredField,
    as_field,
    building_field,
    save_map,
)

log = logging.getLogger(__name__)

SAMPLE_SECONDS = 0.1e-6  # CPU time to sample a node of a field from other fields (measured: 0.076) and to store it
_CHUNK_NODE_BYTES = 150  # of a chunk that is being made, and of a field for ITK

ChunkMaker = Callable[[Region], DisplacementField]
"""A function that makes the nodes of one region of a field."""


class ChunkWriter(Protocol):
    """A field that is being written by whole chunks."""

    @property
    def chunk_shape(self) -> Triple:
        """Nodes (z, y, x) of a chunk."""
        ...

    def write(self, region: Region, values: ArrayLike) -> None:
        """Store the (z, y, x, 3) displacements in µm of a region of whole chunks."""
        ...


@dataclass(frozen=True)
class NewTransform:
    """The paths of a transform to write and of its report; `affine` is None for a field."""

    output: Path
    affine: Affine | None

    @classmethod
    def of(cls, output: str | Path, affine: Affine | None, *, overwrite: bool) -> NewTransform:
        """Return the place of a transform. Raises InputError for the ending of another kind, or if a file exists."""
        new = cls(Path(output), affine)
        suffixes = {".zarr"} if affine is None else {".mat", ".txt", ".zarr"}
        if new.output.suffix not in suffixes:
            raise InputError(f"the output {output} must end in {' or '.join(sorted(suffixes))} for these transforms.")
        for path in (new.output, new.report):
            refuse_existing(path, overwrite=overwrite, what="output")
        return new

    @property
    def report(self) -> Path:
        """The file with the residuals."""
        return self.output.with_suffix(".residual.json")

    def save_affine(self, *, ends: Ends, overwrite: bool) -> None:
        """Write the affine, as text or as a map."""
        if self.affine is None:
            raise ValueError(f"{self.output} is no affine")
        if self.output.suffix == ".zarr":
            save_map(self.output, Stack((self.affine,)), ends=ends, overwrite=overwrite)
        else:
            self.affine.save(self.output)

    def check_writable(self, *, overwrite: bool) -> None:
        """Raise InputError when the transform or its report cannot be written."""
        for path in (self.output, self.report):
            check_new_file(path, overwrite=overwrite, what="output")


def plan_copy(output: Path, stack: Stack) -> Plan:
    """Return the plan to write transforms as they are, with copies of their fields: no block, no voxel."""
    copied = sum(grid.region.size for grid in stack.grids) * NODE_BYTES
    plan = Plan(
        output=str(output),
        blocks={},
        read_bytes=copied,
        write_bytes=copied,
        worker_memory_bytes=WORKER_BYTES,
        estimated_seconds=0,
    )
    return plan.checked(Capacity.here())


def plan_field(
    output: Path,
    stack: Stack,
    grid: Grid,
    *,
    what: str,
    node_seconds: float,
    threads: int,
    chunk: Triple = CHUNK_SHAPE,
) -> Plan:
    """Return the plan to write `stack` as a field on `grid`, a `chunk` of nodes at a time, in this process.

    `node_seconds` is the CPU time of a node; every field of the stack is read once.
    """
    chunks = len(WriteUnits(grid.shape, chunk))
    fields = [grid.region.size for grid in stack.grids]
    nodes = min(math.prod(chunk), grid.region.size)
    capacity = Capacity.here(threads)
    plan = Plan(
        output=str(output),
        blocks={what: chunks},
        read_bytes=sum(fields) * NODE_BYTES,
        write_bytes=grid.region.size * NODE_BYTES,
        worker_memory_bytes=WORKER_BYTES + FIELD_CACHE_BYTES + nodes * _CHUNK_NODE_BYTES,
        estimated_seconds=round(capacity.seconds(grid.region.size * node_seconds, 1)),
    )
    return plan.checked(capacity)


def write_field(
    output: Path,
    grid: Grid,
    make: ChunkMaker,
    *,
    what: str,
    ends: Ends,
    inverse: Stack | None = None,
    overwrite: bool,
) -> StoredField:
    """Store the field that `make` returns for each chunk of `grid`, beside its inverse if that is given.

    `what` names the work in the log.
    """
    with building_field(output, grid, inverse=inverse, ends=ends, overwrite=overwrite) as writer:
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
    """Return a function that samples `stack` on any region of `grid`'s nodes."""

    def sampled(region: Region) -> DisplacementField:
        box = grid.crop(region)
        near = stack.load(box.origin, box.to_physical(np.array(box.shape) - 1))  # read once, not tile by tile
        return as_field(near, grid, region=region, threads=threads)

    return sampled


def run_of(transforms: Sequence[str | Path], fixed: str | Path | Side | None, **parameters: object) -> Run:
    """Return the origin of a transform that was made of others, and of the grid of a volume, for its report."""
    inputs = {
        "transforms": [own_name(path) for path in transforms],
        "fixed": None if fixed is None else own_name(Side.of(fixed).uri),
    }
    return Run(inputs=inputs, parameters=parameters)


@dataclass(frozen=True)
class GridDescription:
    """A grid as reports show it: (x, y, z), µm."""

    shape: Sequence[int]
    spacing_um: Sequence[float]
    origin_um: Sequence[float]

    @classmethod
    def of(cls, grid: Grid) -> GridDescription:
        """Return the description of a grid."""
        return cls(reverse_axes(grid.shape), reverse_axes(grid.spacing), reverse_axes(grid.origin))
