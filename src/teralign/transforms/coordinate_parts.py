"""Coordinate transformations as chains of matrices and fields, of any number of axes, and their inverses.

A chain is in order of application. A matrix is (M + 1) × (N + 1) on homogeneous coordinates; a field acts on some of
the coordinates and keeps the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorstore

from teralign.addresses import reason
from teralign.errors import InputError
from teralign.files import file_store
from teralign.grids import Floats
from teralign.ome.transformations import (
    AxisPart,
    Bijection,
    ByDimension,
    Identity,
    MapAxis,
    NumberMatrix,
    ProjectAxis,
    Scaling,
    Sequence,
    Transformation,
    Translation,
    Unknown,
    VectorField,
)
from teralign.transforms.affine import MAX_CONDITION
from teralign.volumes.arrays import check_chunk_size
from teralign.volumes.blosc import BloscChunks

# Elements of a rotation times its transpose may be off by this much: writers round to two or three decimals.
_ROTATION_TOLERANCE = 0.01
_MOST_AXES = 100  # of a matrix: images have five


@dataclass(frozen=True, eq=False)
class MatrixPart:
    """A matrix on homogeneous coordinates."""

    matrix: Floats

    @property
    def ndim(self) -> int:
        """The number of coordinates that come out."""
        return len(self.matrix) - 1


@dataclass(frozen=True)
class FieldPart:
    """A field that acts on the coordinates `axes`; `root` is the folder from which it is named."""

    root: Path
    field: VectorField
    axes: tuple[int, ...]
    ndim: int


CoordinatePart = MatrixPart | FieldPart


def with_numbers(root: Path, transformation: Transformation) -> Transformation:
    """Return a transformation with the matrices that lie in arrays read. Raises InputError where that fails."""
    match transformation:
        case NumberMatrix(kind, None, str(path)):
            return NumberMatrix(kind, _read_rows(root, path))
        case Sequence(parts):
            return Sequence(tuple(with_numbers(root, part) for part in parts))
        case Bijection(forward, inverse):
            return Bijection(with_numbers(root, forward), with_numbers(root, inverse))
        case ByDimension(parts):
            read = (AxisPart(with_numbers(root, p.transformation), p.input_axes, p.output_axes) for p in parts)
            return ByDimension(tuple(read))
    return transformation


def _read_rows(root: Path, path: str) -> tuple[tuple[float, ...], ...]:
    try:
        spec = {"driver": "zarr3", "kvstore": file_store(root / path.strip("/"))}
        array = tensorstore.open(spec, open=True, read=True).result()
        if array.ndim != 2 or max(array.shape) > _MOST_AXES:
            raise InputError(f"{root} names the matrix {path}, whose shape is {array.shape}; repair or replace it.")
        check_chunk_size(array, root / path)
        blosc = BloscChunks.of(array, root / path)
        if blosc is not None:
            blosc.check(array)
        rows = np.asarray(array.read().result(), dtype=np.float64)
    except InputError:  # a ValueError too
        raise
    except (ValueError, OSError, RuntimeError) as error:
        raise InputError(f"{root} names the matrix {path}, which cannot be read: {reason(error)}.") from error
    if not np.isfinite(rows).all():
        raise InputError(f"{root} names the matrix {path}, which is no array of rows and columns of numbers.")
    return tuple(tuple(row) for row in rows.tolist())


def inverted(transformation: Transformation) -> Transformation:
    """Return the inverse in closed form, or that of a bijection. Raises ValueError where there is none."""
    match transformation:
        case Identity():
            return transformation
        case Scaling(values):
            if 0 in values:
                raise ValueError("a scale of 0 has no inverse")
            return Scaling(tuple(1 / value for value in values))
        case Translation(values):
            return Translation(tuple(-value for value in values))
        case MapAxis(axes):
            return MapAxis(tuple(axes.index(axis) for axis in range(len(axes))))
        case NumberMatrix(kind, rows) if rows is not None:
            matrix = _homogeneous(kind, rows)
            if len(matrix) != len(matrix[0]) or not np.linalg.cond(matrix[:-1, :-1]) < MAX_CONDITION:
                raise ValueError(f"its {kind} has no inverse")
            return NumberMatrix("affine", tuple(tuple(row) for row in np.linalg.inv(matrix)[:-1].tolist()))
        case Sequence(parts):
            return Sequence(tuple(inverted(part) for part in reversed(parts)))
        case Bijection(forward, inverse):
            return Bijection(inverse, forward)
        case ByDimension(parts):
            inputs = [axis for part in parts for axis in part.input_axes]
            if len(set(inputs)) != len(inputs):
                raise ValueError("a byDimension that uses an axis twice has no inverse")
            turned = (AxisPart(inverted(p.transformation), p.output_axes, p.input_axes) for p in parts)
            return ByDimension(tuple(turned))
        case VectorField(kind):
            raise ValueError(f"a field of {kind} has no inverse in closed form")
        case _:
            raise ValueError(f"a {_name(transformation)} has no inverse")


def parts_of(
    root: Path, transformation: Transformation, ndim: int, names: tuple[AxisNames, AxisNames]
) -> list[CoordinatePart]:
    """Return a transformation of points of `ndim` coordinates as a chain.

    `names` are those of the axes of its input and its output, for drafts in which parts of axes are named. Raises
    ValueError where the numbers of axes do not fit, or for an unknown kind.
    """
    match transformation:
        case Identity():
            return []
        case Scaling(values):
            _check(len(values) == ndim, f"its scale of {len(values)} numbers", ndim)
            return [MatrixPart(np.diag([*values, 1.0]))]
        case Translation(values):
            _check(len(values) == ndim, f"its translation of {len(values)} numbers", ndim)
            matrix = np.eye(ndim + 1)
            matrix[:-1, -1] = values
            return [MatrixPart(matrix)]
        case MapAxis(axes):
            _check(sorted(axes) == list(range(ndim)), f"its mapAxis {list(axes)}", ndim)
            return [MatrixPart(np.eye(ndim + 1)[[*axes, ndim]])]
        case ProjectAxis(dropped, created):
            return [MatrixPart(_projection(dropped, created, ndim))]
        case NumberMatrix(kind, rows) if rows is not None:
            matrix = _homogeneous(kind, rows)
            _check(matrix.shape[1] == ndim + 1, f"its {kind} of {len(rows[0])} columns", ndim)
            return [MatrixPart(matrix)]
        case VectorField():
            return [FieldPart(root, transformation, tuple(range(ndim)), ndim)]
        case Sequence(steps):
            chain: list[CoordinatePart] = []
            for step in steps:
                chain += parts_of(root, step, chain[-1].ndim if chain else ndim, names)
            return chain
        case Bijection(forward):
            return parts_of(root, forward, ndim, names)
        case ByDimension(parts):
            return _side_by_side(root, parts, ndim, names)
        case _:
            raise ValueError(f"its type is not supported: {_name(transformation)}")


AxisNames = tuple[str, ...]


def _side_by_side(
    root: Path, parts: tuple[AxisPart, ...], ndim: int, names: tuple[AxisNames, AxisNames]
) -> list[CoordinatePart]:
    """Return a byDimension: the input axes of all parts in a row, each part in its place, and the axes in order."""
    inputs = [_indices(part.input_axes, names[0]) for part in parts]
    outputs = [axis for part in parts for axis in _indices(part.output_axes, names[1])]
    taken = [axis for axes in inputs for axis in axes]
    _check(all(axis < ndim for axis in taken), f"its byDimension, whose input axes are {taken}", ndim)
    if sorted(outputs) != list(range(len(outputs))):
        raise ValueError(f"its byDimension must give each output axis once, not {outputs}")
    chain: list[CoordinatePart] = [MatrixPart(np.eye(ndim + 1)[[*taken, ndim]])]
    place, total = 0, len(taken)
    for part, axes in zip(parts, inputs, strict=True):
        own = len(axes)
        for step in parts_of(root, part.transformation, len(axes), ((), ())):
            if isinstance(step, FieldPart):
                chain.append(FieldPart(root, step.field, tuple(place + axis for axis in step.axes), total))
            else:
                chain.append(MatrixPart(_within(step.matrix, place, total - place - own)))
                total += step.ndim - own
                own = step.ndim
        _check(own == len(part.output_axes), f"its byDimension, a part of which gives {own} axes", ndim)
        place += own
    chain.append(MatrixPart(np.eye(total + 1)[[*(outputs.index(axis) for axis in range(total)), total]]))
    return chain


def _within(matrix: Floats, before: int, after: int) -> Floats:
    """Return the matrix for coordinates with `before` and `after` others around, which it keeps."""
    rows, columns = matrix.shape[0] - 1, matrix.shape[1] - 1
    whole = np.zeros((before + rows + after + 1, before + columns + after + 1))
    whole[:before, :before] = np.eye(before)
    whole[before : before + rows, before : before + columns] = matrix[:-1, :-1]
    whole[before : before + rows, -1] = matrix[:-1, -1]
    whole[before + rows :, before + columns :] = np.eye(after + 1)
    return whole


def _projection(dropped: tuple[int, ...], created: tuple[int, ...], ndim: int) -> Floats:
    _check(max(dropped, default=0) < ndim, f"its projectAxis, which drops {list(dropped)}", ndim)
    rows = [np.eye(ndim + 1)[axis] for axis in range(ndim) if axis not in dropped]
    for axis in sorted(created):
        _check(axis <= len(rows), f"its projectAxis, which creates {list(created)}", ndim)
        rows.insert(axis, np.zeros(ndim + 1))
    return np.array([*rows, np.eye(ndim + 1)[ndim]])


def _homogeneous(kind: str, rows: tuple[tuple[float, ...], ...]) -> Floats:
    """Return a rotation (N × N) or an affine (M × N + 1) with its last row."""
    if len({len(row) for row in rows}) != 1 or not rows[0] or (kind == "rotation" and len(rows) != len(rows[0])):
        raise ValueError(f"its {kind} has rows that do not fit")
    upper = np.array(rows)
    if kind == "rotation":
        if np.abs(upper @ upper.T - np.eye(len(rows))).max() > _ROTATION_TOLERANCE or np.linalg.det(upper) < 0:
            raise ValueError("its rotation scales, shears or mirrors, which only an affine may")
        upper = np.hstack([upper, np.zeros((len(rows), 1))])
    return np.vstack([upper, np.eye(upper.shape[1])[-1]])


def _indices(axes: tuple[int | str, ...], names: AxisNames) -> list[int]:
    """Return axes as indices. Raises ValueError for a name that is no axis."""
    unknown = [axis for axis in axes if isinstance(axis, str) and axis.lower() not in names]
    if unknown:
        raise ValueError(f"its byDimension names the axis {unknown[0]}, which its coordinate system lacks")
    return [names.index(axis.lower()) if isinstance(axis, str) else axis for axis in axes]


def _check(fits: bool, what: str, ndim: int) -> None:
    if not fits:
        raise ValueError(f"{what} does not fit {ndim} axes")


def _name(transformation: Transformation) -> str:
    if isinstance(transformation, Unknown):
        return transformation.kind
    name = type(transformation).__name__
    return name[0].lower() + name[1:]
