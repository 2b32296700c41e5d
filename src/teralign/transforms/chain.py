"""Transforms as flat arrays, which the compiled loops take.

A chain alternates affines and fields: point → affine → field → affine → … → point. Affines that follow one another
are multiplied beforehand, and the conversion between µm and node indices of each field is part of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from teralign.grids import Floats, Grid, Region
from teralign.transforms import kernels
from teralign.transforms.affine import Affine, product
from teralign.transforms.field_kind import FieldKind, Interpolation
from teralign.transforms.kernels import Chain

_METHODS = {
    Interpolation.LINEAR: kernels.LINEAR_NODES,
    Interpolation.NEAREST: kernels.NEAREST_NODE,
    Interpolation.CUBIC: kernels.CUBIC_SPLINE,
}


class FieldNodes(Protocol):
    """A field for a chain: (z, y, x, 3) float32 values in µm at the nodes `region` of a grid."""

    @property
    def values(self) -> NDArray[np.float32]:
        """The displacements or coordinates; of a cubic field the coefficients of its B-splines."""
        ...

    @property
    def kind(self) -> FieldKind:
        """The meaning of the values, and the interpolation between nodes."""
        ...

    @property
    def grid(self) -> Grid:
        """The grid of all nodes."""
        ...

    @property
    def region(self) -> Region:
        """The nodes that have values."""
        ...


def chain_of(
    parts: Sequence[Affine | FieldNodes], *, before: Floats | None = None, after: Floats | None = None
) -> Chain:
    """Return the chain that applies `parts`, the last first, to points in µm.

    `before` (4×4) takes the input to µm and `after` takes µm to the output: give `to_physical(grid)` and
    `to_index(moving_grid)` to go from voxel to voxel. Affines that follow one another become one matrix.
    """
    fields: list[FieldNodes] = []
    matrices: list[Floats] = []
    gains: list[Floats] = []
    entering, so_far = _or_identity(before), np.eye(4)  # into the frame after the last field, and from µm there on
    for part in reversed(parts):
        if isinstance(part, Affine):
            so_far = product(part.matrix, so_far)
            continue
        so_far = product(to_index(part.grid), so_far)
        _close(entering, so_far, fields, matrices, gains)
        entering, so_far = _kept_position(part), np.eye(4)
        fields.append(part)
    so_far = product(_or_identity(after), so_far)
    _close(entering, so_far, fields, matrices, gains)
    first = matrices[0][:3, :3]
    diagonal = np.count_nonzero(first - np.diag(np.diag(first))) == 0
    aligned = bool(fields) and diagonal and fields[0].kind.interpolation is Interpolation.LINEAR
    entry = product(matrices[1], matrices[0]) if aligned else matrices[0]
    return Chain(
        matrices=np.ascontiguousarray([m[:3] for m in matrices]),
        gains=np.array(gains).reshape(-1, 3, 3),
        shapes=_triples(f.grid.shape for f in fields),
        starts=_triples(f.region.start for f in fields),
        holds=_triples(f.region.shape for f in fields),
        offsets=np.cumsum([0] + [f.values.size for f in fields])[:-1].astype(np.int64),
        nodes=_flat(fields),
        aligned=aligned,
        entry=np.ascontiguousarray(entry[:3]),
        methods=np.array([_METHODS[f.kind.interpolation] for f in fields], dtype=np.int64),
        absolute=_triples(f.kind.absolute for f in fields),
    )


def _kept_position(field: FieldNodes) -> Floats:
    """Return the matrix from node indices to what the vectors are added to: positions in µm, 0 for coordinates."""
    matrix = to_physical(field.grid)
    matrix[np.flatnonzero(field.kind.absolute)] = 0
    return matrix


def to_physical(grid: Grid) -> Floats:
    """Return the 4×4 matrix from voxel (or node) indices to µm."""
    matrix = np.diag([*grid.spacing, 1.0])
    matrix[:3, 3] = grid.origin
    return matrix


def to_index(grid: Grid) -> Floats:
    """Return the 4×4 matrix from µm to voxel (or node) indices."""
    spacing = np.array(grid.spacing)
    matrix = np.diag([*(1 / spacing), 1.0])
    matrix[:3, 3] = -np.array(grid.origin) / spacing
    return matrix


def _or_identity(matrix: Floats | None) -> Floats:
    return np.eye(4) if matrix is None else matrix


def _close(
    entering: Floats, so_far: Floats, fields: list[FieldNodes], matrices: list[Floats], gains: list[Floats]
) -> None:
    """Close a frame: append the matrix out of it, and the matrix of the displacements of the field before it."""
    matrices.append(product(so_far, entering))
    if fields:
        gains.append(so_far[:3, :3])


def _triples(values: Iterable[tuple[int, int, int]]) -> NDArray[np.int64]:
    return np.array(list(values), dtype=np.int64).reshape(-1, 3)


def _flat(fields: Sequence[FieldNodes]) -> NDArray[np.float32]:
    if not fields:
        return np.zeros(0, np.float32)
    flat = [f.values.reshape(-1) for f in fields]
    return flat[0] if len(flat) == 1 else np.concatenate(flat)
