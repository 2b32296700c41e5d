"""Maps between the coordinate systems of an OME-Zarr group, and the stacks of points (z, y, x) in µm that they are.

The way from a system to another is the shortest chain of transformations; one of them is used backwards only if its
inverse has a closed form or is stored (a bijection). On the way to a stack the coordinates q are kept as a linear
function of three carriers p, first the fixed point in µm. A matrix changes only that function. A field acts on p
itself where each of its axes is one of p, up to a positive scale; else a matrix leads to its axes first. Coordinates
that are not of space are 0, and must neither reach the others nor depend on them.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from teralign.errors import InputError
from teralign.grids import Floats, Grid, as_float_triple, as_triple
from teralign.ome.graph import Edge, SystemGraph, read_graph, shown
from teralign.ome.model import Axis
from teralign.ome.scene import Link, System, SystemReference
from teralign.ome.transformations import VectorField
from teralign.ome.vectors import VectorLayout, read_vectors
from teralign.transforms.affine import MAX_CONDITION, Affine
from teralign.transforms.coordinate_parts import (
    CoordinatePart,
    FieldPart,
    MatrixPart,
    inverted,
    parts_of,
    with_numbers,
)
from teralign.transforms.field_kind import FieldKind, Interpolation
from teralign.transforms.stack import Stack
from teralign.transforms.stored import StoredField
from teralign.transforms.stored_interpolated import StoredInterpolatedField, StoredVectors
from teralign.transforms.transform import Transform
from teralign.volumes.units import is_blank, micrometres, unknown_unit

_INTERPOLATIONS = {kind.value: kind for kind in Interpolation}
_ROUNDING = 1e-12  # of the largest entry of a matrix: what is less is 0


@dataclass(frozen=True)
class CoordinateMap:
    """A map from points of the system `source` to points of `target`, as a chain in order of application."""

    path: Path
    source: System
    target: System
    parts: tuple[CoordinatePart, ...]

    def map_coordinates(self, points: Floats) -> Floats:
        """Return the images (n, M) of points (n, N), in the units and the order of the axes.

        Raises InputError where the map has a field, which needs three axes of space.
        """
        mapped = np.hstack([points, np.ones((len(points), 1))])
        for part in self.parts:
            if isinstance(part, FieldPart):
                raise InputError(f"{self.path} holds a field; only its points in space can be mapped.")
            mapped = mapped @ part.matrix.T
        return mapped[:, :-1]

    def stack(self) -> Stack:
        """Return the map as transforms of points (z, y, x) in µm.

        Raises InputError where it is no map of three axes of space, or a field cannot be read.
        """
        start, end = (_SpaceOf(self.path, system) for system in (self.source, self.target))
        builder = _Builder(self.path, start.from_points(), self.source.axes)
        for part in self.parts:
            builder.add(part)
        return builder.finished(end.to_points())


def load_coordinate_map(path: Path) -> CoordinateMap:
    """Return the map from the fixed to the moving system of a group.

    They are the ends of its only transformation, or the systems named fixed and moving, or else the only system that
    is no output and the only one that is no input. Raises InputError where none of these is so.
    """
    graph = read_graph(path)
    if not graph.main and not graph.is_scene:
        return _map_of_image(graph)
    if not graph.main:
        raise InputError(f"{path} has a scene without transformations.")
    links = [edge.link for edge in graph.main]
    inputs, outputs = {link.input for link in links}, {link.output for link in links}
    named = [[end for end in inputs | outputs if end.name.lower() == name] for name in ("fixed", "moving")]
    sources, targets = inputs - outputs, outputs - inputs
    if len(links) == 1:
        if inputs == outputs:
            raise InputError(f"{path} leads from the coordinate system {shown(links[0].input)} to itself.")
        return _map_between(graph, links[0].input, links[0].output)
    if all(len(ends) == 1 for ends in named):
        return _map_between(graph, named[0][0], named[1][0])
    if len(sources) == len(targets) == 1:
        return _map_between(graph, *sources, *targets)
    systems = ", ".join(sorted(shown(end) for end in inputs | outputs))
    raise InputError(
        f"{path} has transformations between the coordinate systems {systems}; name that of the fixed volume fixed, "
        "and that of the moving volume moving."
    )


def find_coordinate_map(path: Path, source: str, target: str) -> CoordinateMap:
    """Return the map between two systems of a group, by name, or by "image/name" for those of an image.

    Raises InputError for a system that is not there, or where none or several ways lead to the target.
    """
    graph = read_graph(path)
    ends = []
    for name in (source, target):
        found = [system for system in graph.systems if name in (shown(system), system.name)]
        if len(found) != 1:
            known = ", ".join(sorted(map(shown, graph.systems)))
            raise InputError(f"{path} has {len(found) or 'no'} coordinate systems {name}, but {known}.")
        ends.append(found[0])
    return _map_between(graph, *ends)


def _map_of_image(graph: SystemGraph) -> CoordinateMap:
    """Return the map that an image of vectors is."""
    layout = read_vectors(graph.path, "")
    system = System("", layout.axes)
    field = FieldPart(graph.path, VectorField(layout.kind, ""), tuple(range(len(layout.axes))), len(layout.axes))
    return CoordinateMap(graph.path, system, system, (field,))


def _map_between(graph: SystemGraph, source: SystemReference, target: SystemReference) -> CoordinateMap:
    systems = [_system(graph, end) for end in (source, target)]
    parts: list[CoordinatePart] = []
    ndim = len(systems[0].axes)
    try:
        for edge in _way(graph, source, target):
            axes = [graph.axes.get(end, ()) for end in (edge.link.input, edge.link.output)]
            names = [tuple(axis.name for axis in some) for some in axes]
            parts += parts_of(edge.root, edge.link.transformation, ndim, (names[0], names[1]))
            ndim = parts[-1].ndim if parts else ndim
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{graph.path} holds a transformation that cannot be used: {error}.") from error
    if ndim != len(systems[1].axes):
        raise InputError(
            f"{graph.path} leads to {ndim} coordinates, but {shown(target)} has {len(systems[1].axes)} axes."
        )
    return CoordinateMap(graph.path, systems[0], systems[1], tuple(parts))


def _system(graph: SystemGraph, reference: SystemReference) -> System:
    axes = graph.axes.get(reference)
    if not axes:
        raise InputError(f"{graph.path} does not give the axes of the coordinate system {shown(reference)}.")
    return System(shown(reference), axes)


def _way(graph: SystemGraph, source: SystemReference, target: SystemReference) -> list[Edge]:
    """Return the shortest chain of edges, each in its direction of use; those with fewest inverses come first."""
    steps = _steps(graph)
    ways: list[list[tuple[Edge, bool]]] = [[]]
    seen = {source}
    reached = source == target
    while ways and not reached:
        ends = [(way, way[-1][0].link.output if way else source) for way in ways]
        ways = [
            [*way, step] for way, end in ends for step in steps if step[0].link.input == end and _is_new(step, seen)
        ]
        seen |= {way[-1][0].link.output for way in ways}
        reached = target in seen
    found = [way for way in ways if not way or way[-1][0].link.output == target]
    if not found:
        raise InputError(
            f"{graph.path} has no way from {shown(source)} to {shown(target)} of transformations that are stored or "
            "that can be inverted; invert-transform inverts fields."
        )
    inverses = [sum(backwards for _, backwards in way) for way in found]
    best = [way for way, count in zip(found, inverses, strict=True) if count == min(inverses)]
    if len(best) > 1:
        raise InputError(
            f"{graph.path} has {len(best)} ways from {shown(source)} to {shown(target)}; remove all but one."
        )
    return [edge for edge, _ in best[0]]


def _is_new(step: tuple[Edge, bool], seen: set[SystemReference]) -> bool:
    return step[0].link.output not in seen


def _steps(graph: SystemGraph) -> list[tuple[Edge, bool]]:
    """Return all edges, and the inverses that they have, which are marked."""
    steps = []
    for edge in graph.edges:
        link = edge.link
        read = Link(with_numbers(edge.root, link.transformation), link.input, link.output)
        steps.append((Edge(read, edge.root), False))
        try:
            backwards = Link(inverted(read.transformation), link.output, link.input)
        except ValueError:
            continue
        steps.append((Edge(backwards, edge.root), True))
    return steps


@dataclass(frozen=True)
class _SpaceOf:
    """The axes of space of a system: the index of z, y, x, and the µm of their units."""

    path: Path
    system: System

    def _order(self) -> list[int]:
        axes = self.system.axes
        space = [i for i, axis in enumerate(axes) if axis.kind == "space"]
        if not any(axis.kind for axis in axes):
            space = list(range(len(axes)))
        if len(space) != 3:
            kinds = ", ".join(f"{axis.name} ({axis.kind or 'no type'})" for axis in axes)
            raise InputError(f"{self.path} must map points of three axes of space, not {kinds}.")
        by_name = {axes[i].name: i for i in space}
        return [by_name[name] for name in "zyx"] if set(by_name) == set("zyx") else space

    def _lengths(self, order: list[int]) -> list[float]:
        return [_length(self.path, self.system.axes[i]) for i in order]

    def from_points(self) -> Floats:
        """Return the matrix (N, 4) from points in µm to coordinates; those that are not of space are 0."""
        order = self._order()
        matrix = np.zeros((len(self.system.axes), 4))
        for point_axis, (i, length) in enumerate(zip(order, self._lengths(order), strict=True)):
            matrix[i, point_axis] = 1 / length
        return matrix

    def to_points(self) -> Floats:
        """Return the matrix (4, N + 1) from coordinates to points in µm."""
        order = self._order()
        matrix = np.zeros((4, len(self.system.axes) + 1))
        for point_axis, (i, length) in enumerate(zip(order, self._lengths(order), strict=True)):
            matrix[point_axis, i] = length
        matrix[3, -1] = 1
        return matrix


def _length(path: Path, axis: Axis) -> float:
    """Return the µm of the unit of an axis; an axis without a unit is in µm."""
    unit = axis.unit or ""
    length = 1.0 if is_blank(unit) else micrometres(unit)
    if length is None:
        raise InputError(f"{path} has an axis {axis.name} whose unit cannot be used: {unknown_unit(unit)}.")
    return length


class _Builder:
    """The transforms so far, the first applied first, and the coordinates as a linear function of their images."""

    def __init__(self, path: Path, coordinates: Floats, axes: tuple[Axis, ...]) -> None:
        self._path = path
        self._transforms: list[Transform] = []
        self._linear = coordinates  # (D, 4)
        self._axes: tuple[Axis, ...] | None = axes  # of the coordinates, as long as no matrix changed them

    def add(self, part: CoordinatePart) -> None:
        """Append a part of the chain."""
        if isinstance(part, MatrixPart):
            self._linear = _product(part.matrix, self._linear)[:-1]
            self._axes = None
            return
        layout = read_vectors(part.root, part.field.path.strip("/"))
        self._check(part, layout)
        carriers = self._carriers(part)
        order = _scaled_permutation(self._linear[carriers])
        if order is None:
            self._lead_to(carriers)
            order = [0, 1, 2]
        self._transforms.append(self._field(part, layout, carriers, order))

    def finished(self, to_points: Floats) -> Stack:
        """Return the transforms, then the matrix from their images to points."""
        whole = _product(to_points, self._linear)
        if not np.linalg.cond(whole[:3, :3]) < MAX_CONDITION:
            raise InputError(f"{self._path} flattens space: its moving axes do not depend on all fixed ones.")
        if not np.array_equal(whole, np.eye(4)):
            self._transforms.append(Affine(whole))
        return Stack(tuple(reversed(self._transforms)))

    def _check(self, part: FieldPart, layout: VectorLayout) -> None:
        place = part.root / part.field.path
        if layout.kind != part.field.kind:
            raise InputError(f"{place} holds {layout.kind}, but its transformation is of type {part.field.kind}.")
        if part.field.interpolation not in _INTERPOLATIONS:
            raise InputError(
                f"the field {place} needs {part.field.interpolation} interpolation; only "
                f"{', '.join(_INTERPOLATIONS)} are supported."
            )
        if len(layout.axes) != len(part.axes):
            raise InputError(f"the field {place} has {len(layout.axes)} axes, but maps {len(part.axes)} coordinates.")
        if len(part.axes) > 3:
            raise InputError(f"the field {place} has {len(part.axes)} axes; only fields of space are supported.")
        if self._axes is None:
            return
        known = [self._axes[i] for i in part.axes]
        for axis, own in zip(known, layout.axes, strict=True):
            if axis.unit and own.unit and _length(place, axis) != _length(place, own):
                raise InputError(f"the field {place} is in {own.unit}, but its points are in {axis.unit}.")
        names = [[axis.name for axis in axes] for axes in (known, layout.axes)]
        if names[0] != names[1] and set(names[0]) == set(names[1]):
            raise InputError(
                f"the field {place} has the axes {', '.join(names[1])}, but its points have {', '.join(names[0])}; "
                "both must be in one order."
            )

    def _carriers(self, part: FieldPart) -> list[int]:
        """Return the three coordinates that carry the point through a field: its axes, and others to make three."""
        others = [i for i in range(len(self._linear)) if i not in part.axes]
        for more in itertools.combinations(others, 3 - len(part.axes)):
            chosen = [*part.axes, *more]
            rest = [i for i in others if i not in more]
            if np.linalg.cond(self._linear[chosen, :3]) < MAX_CONDITION and not self._linear[rest, :3].any():
                return chosen
        raise InputError(
            f"the field {part.root / part.field.path} acts on coordinates that are not independent in space, which "
            "is not supported."
        )

    def _lead_to(self, carriers: list[int]) -> None:
        """Append the matrix to the axes of a field, which become the carriers."""
        affine = Affine(np.vstack([self._linear[carriers], [0, 0, 0, 1]]))
        self._transforms.append(affine)
        self._linear = self._linear @ affine.inverse().matrix
        self._linear[carriers] = np.eye(4)[:3]

    def _field(self, part: FieldPart, layout: VectorLayout, carriers: list[int], order: list[int]) -> Transform:
        """Return the field as a transform of the carriers; coordinate `carriers[i]` lies along axis `order[i]`."""
        image = part.field.path.strip("/")
        count = len(part.axes)
        factor = [self._linear[carriers[i], order[i]] for i in range(count)]
        offset = [self._linear[carriers[i], 3] for i in range(count)]
        plain = layout.kind == "displacements" and part.field.interpolation == Interpolation.LINEAR.value
        if plain and order == [0, 1, 2] and count == 3 and factor == [1.0] * 3 and offset == [0.0] * 3:
            grid = Grid(as_triple(layout.shape), as_float_triple(layout.scale), as_float_triple(layout.translation))
            return StoredField(part.root, grid, layout.array, layout.vector_axis, image=image)
        absolute = layout.kind == "coordinates"
        place = {order[i]: i for i in range(count)}
        stored = [axis for axis in range(count + 1) if axis != layout.vector_axis]
        shape, spacing, origin = [1, 1, 1], [1.0, 1.0, 1.0], [0.0, 0.0, 0.0]
        factors, shifts = [0.0] * 3, [0.0] * 3
        for axis, i in place.items():
            shape[axis], spacing[axis] = layout.shape[i], layout.scale[i] / factor[i]
            origin[axis] = (layout.translation[i] - offset[i]) / factor[i]
            factors[axis], shifts[axis] = 1 / factor[i], -offset[i] / factor[i] if absolute else 0.0
        axes = [stored[place[axis]] if axis in place else None for axis in range(3)]
        components = [place.get(axis) for axis in range(3)]
        vectors = StoredVectors(
            part.root / image,
            layout.array,
            layout.vector_axis,
            (axes[0], axes[1], axes[2]),
            (components[0], components[1], components[2]),
            as_float_triple(factors),
            as_float_triple(shifts),
        )
        kind = FieldKind(
            _INTERPOLATIONS[part.field.interpolation],
            (absolute and 0 in place, absolute and 1 in place, absolute and 2 in place),
        )
        return StoredInterpolatedField(
            vectors, Grid(as_triple(shape), as_float_triple(spacing), as_float_triple(origin)), kind
        )


def _product(matrix: Floats, linear: Floats) -> Floats:
    """Return matrix · linear, whose last row is added here, summed in one order as `affine.product` does."""
    rows = np.vstack([linear, [0.0, 0.0, 0.0, 1.0]])
    total: Floats = matrix[:, :1] * rows[:1]
    for i in range(1, len(rows)):
        total = total + matrix[:, i : i + 1] * rows[i : i + 1]
    return total


def _scaled_permutation(rows: Floats) -> list[int] | None:
    """Return the axis of p along which each coordinate lies, where each is one axis of p times a positive number."""
    linear = np.where(np.abs(rows[:, :3]) > _ROUNDING * np.abs(rows[:, :3]).max(), rows[:, :3], 0)
    order = [int(np.argmax(row)) for row in linear]
    positive = sorted(order) == [0, 1, 2] and np.count_nonzero(linear) == 3
    return order if positive and all(linear[i, axis] > 0 for i, axis in enumerate(order)) else None
