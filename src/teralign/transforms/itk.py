"""Transforms as ITK has them, and with it ANTs, SimpleITK and elastix, to and from ours.

ITK's points are (x, y, z) in the physical space of its images, in whatever unit and along whatever axes those have.
Ours are (z, y, x) in µm along the axes of the arrays. The affine W from our points to ITK's is the *frame* of an
image. Both map fixed to moving points, and both apply the last of a list first; so with the frames of both images

    T_itk = W_m ∘ T ∘ W_f⁻¹.

A list goes over part by part with W_f on both sides, and W_m ∘ W_f⁻¹ (`between`) after them all.

Outside its grid a field of ITK moves nothing, where ours continues with its nearest value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from teralign.errors import InputError
from teralign.grids import Floats, Grid, as_float_triple, as_triple, reverse_axes
from teralign.transforms.affine import Affine
from teralign.transforms.chain import to_index, to_physical
from teralign.transforms.field import DisplacementField
from teralign.transforms.itk_files import type_name
from teralign.transforms.sampling import Residual, node_positions
from teralign.transforms.stack import Stack
from teralign.transforms.transform import Transform
from teralign.volumes import open_volume

sitk: Any = SimpleITK  # half annotated: as good as untyped
_NODES_PER_KNOT = 8  # of a B-spline that is sampled: within 1/500 of what it bends between knots
_STEP = 2.0**14  # between points whose images give a matrix: so long that rounding does not matter
_STRAIGHT = 1e-9  # relative: what a grid's axes may be off ours
_REVERSED = np.eye(3)[::-1]
_SAMPLES = 10_000
_RIM = 1e-9  # of a B-spline's domain: rounding takes points of its faces for outside, where it moves nothing


def frame_of_unit(micrometres: float) -> Affine:
    """The frame of images with straight axes whose unit is so many µm."""
    return Affine.from_parts(_REVERSED / micrometres)


def frame_of_image(path: str | Path) -> Affine:
    """The frame of an image file that ITK reads, its unit and its turned axes as ITK sees them.

    Raises InputError when ITK, or we, cannot read its header.
    """
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise InputError(f"{path} is not an image that ITK reads, so its axes are not known.") from error
    if reader.GetDimension() != 3:
        raise InputError(f"{path} has {reader.GetDimension()} dimensions; the axes of a 3-D image are wanted.")
    volume = open_volume(Path(path).absolute())
    stored = volume.description.orientation.to_stored(volume.grid.shape)
    return Affine(_index_frame(reader).matrix @ stored @ to_index(volume.grid))


@dataclass(frozen=True)
class Imported:
    """What files of ITK hold, in our terms; `sampling` tells how far a field is from the B-spline it was made of."""

    parts: tuple[Transform, ...]
    sampling: Residual | None = None


def to_ours(parts: Sequence[Any], frame: Affine, nodes: Grid | None) -> Imported:
    """ITK transforms, outermost first, in our terms, with the fixed image's frame on both sides.

    A B-spline is sampled finely over its domain, the last part on `nodes` where there are any, and continues outside
    with its nearest value.
    Raises InputError for any other kind of transform.
    """
    ours: list[Transform] = []
    sampling: Residual | None = None
    for number, part in enumerate(parts, start=1):
        if part.IsLinear():
            ours.append(frame.inverse() @ _affine_of(part) @ frame)
        elif isinstance(part, sitk.DisplacementFieldTransform):
            ours.extend(_field_of(part.GetDisplacementField(), frame))
        elif isinstance(part, sitk.BSplineTransform):
            chosen = nodes if number == len(parts) else None  # those before it may take points elsewhere
            field = _sampled(part, frame, chosen or _knots(part, frame))
            sampling = worse(sampling, _deviation(part, frame, field))
            ours.append(field)
        else:
            raise InputError(
                f"a {type_name(part)} of ITK cannot be converted; linear transforms, fields and B-splines can."
            )
    return Imported(tuple(ours), sampling)


def between(fixed: Affine, moving: Affine) -> tuple[Affine, ...]:
    """W_m ∘ W_f⁻¹ of two frames, as a list that is empty where they are the same."""
    return () if np.array_equal(fixed.matrix, moving.matrix) else (_without_rounding(moving @ fixed.inverse()),)


def to_itk(stack: Stack, fixed: Affine, moving: Affine) -> list[Any]:
    """ITK transforms, outermost first, that do what `stack` does; stored fields are read whole."""
    framed = Stack((*between(fixed, moving), *(_framed(part, fixed) for part in stack.transforms)))
    parts = framed.simplified().transforms
    return [_itk_field(part, fixed) if part.affine is None else _itk_affine(part.affine) for part in parts]


def field_image(field: DisplacementField, fixed: Affine, moving: Affine) -> Any:  # noqa: ANN401 - no types
    """Return a whole field as an image of ITK with float32 vectors (x, y, z), between the frames of two images."""
    nodes = node_positions(field.grid)
    vectors = moving.map_points(nodes + field.values.reshape(-1, 3)) - fixed.map_points(nodes)
    return _image(vectors.reshape(field.values.shape).astype(np.float32), field.grid, fixed)


def worse(one: Residual | None, other: Residual | None) -> Residual | None:
    """The larger of two residuals, by their maxima; None is none."""
    if one is None or other is None:
        return one or other
    return max(one, other, key=lambda residual: residual.maximum)


def _affine_of(transform: Any) -> Affine:  # noqa: ANN401
    """A linear transform of ITK, whatever its parameters, on (x, y, z)."""
    origin = np.array(transform.TransformPoint((0.0, 0.0, 0.0)))
    ends = [np.array(transform.TransformPoint(tuple(_STEP * axis))) for axis in np.eye(3)]
    try:
        return Affine.from_parts(np.stack([(end - origin) / _STEP for end in ends], axis=1), origin)
    except ValueError as error:
        raise InputError(f"{error}.") from error


def _field_of(image: Any, frame: Affine) -> tuple[Transform, ...]:  # noqa: ANN401
    """A field of ITK: one of ours, or, where its axes are turned, one between the affines that turn it."""
    z, y, x = reverse_axes(image.GetSize())
    to_us = frame.inverse()
    place = _without_rounding(to_us @ _index_frame(image))
    spacing = np.linalg.norm(place.matrix[:3, :3], axis=0)
    vectors: NDArray[np.float64] = sitk.GetArrayFromImage(image)
    turn = place @ Affine.from_parts(np.diag(1 / spacing))
    displacements = vectors @ (np.linalg.inv(turn.matrix[:3, :3]) @ to_us.matrix[:3, :3]).T
    if np.allclose(turn.matrix[:3, :3], np.eye(3), rtol=0, atol=_STRAIGHT):
        grid = Grid((z, y, x), as_float_triple(spacing), as_float_triple(place.matrix[:3, 3]))
        return (DisplacementField(displacements.astype(np.float32), grid),)
    grid = Grid((z, y, x), as_float_triple(spacing))
    return turn, DisplacementField(displacements.astype(np.float32), grid), turn.inverse()


def _index_frame(image: Any) -> Affine:  # noqa: ANN401
    """The affine from (z, y, x) indices of an image of ITK to its physical space."""
    direction = np.array(image.GetDirection()).reshape(3, 3)
    return Affine.from_parts((direction * np.array(image.GetSpacing())) @ _REVERSED, np.array(image.GetOrigin()))


def _sampled(bspline: Any, frame: Affine, grid: Grid) -> DisplacementField:  # noqa: ANN401
    """A B-spline at the nodes of our grid; those outside its domain take the displacement of its nearest point."""
    size, origin, spacing, direction = _geometry(grid, frame)
    image = sitk.TransformToDisplacementField(bspline, sitk.sitkVectorFloat64, size, origin, spacing, direction)
    vectors = sitk.GetArrayFromImage(image).reshape(-1, 3)
    domain = _domain(bspline)
    shares = domain.inverse().map_points(frame.map_points(node_positions(grid)))
    within = np.clip(shares, _RIM, 1 - _RIM)
    outside = (shares != within).any(axis=1)
    nearest = domain.map_points(within[outside])
    vectors[outside] = _through(bspline, nearest) - nearest
    values = vectors @ frame.inverse().matrix[:3, :3].T
    return DisplacementField(values.astype(np.float32).reshape(*grid.shape, 3), grid)


def _through(transform: Any, points: Floats) -> Floats:  # noqa: ANN401
    """Where an ITK transform takes its own (x, y, z) points (n, 3)."""
    return np.array([transform.TransformPoint(point) for point in points.tolist()]).reshape(-1, 3)


def _domain(bspline: Any) -> Affine:  # noqa: ANN401
    """The affine from the unit cube to the domain of a B-spline, in ITK's space."""
    extent = np.array(bspline.GetTransformDomainPhysicalDimensions())
    direction = np.array(bspline.GetTransformDomainDirection()).reshape(3, 3)
    return Affine.from_parts(direction * extent, bspline.GetTransformDomainOrigin())


def _knots(bspline: Any, frame: Affine) -> Grid:  # noqa: ANN401
    """Nodes over the domain of a B-spline, at least _NODES_PER_KNOT to a knot."""
    domain = frame.inverse() @ _domain(bspline)
    low, high = domain.bounds((0, 0, 0), (1, 1, 1))
    knots = np.linalg.norm(domain.matrix[:3, :3], axis=0) / np.array(bspline.GetTransformDomainMeshSize())
    step = float(knots.min()) / _NODES_PER_KNOT
    shape = np.ceil((high - low) / step - 1e-6) + 1
    return Grid(as_triple(shape), (step, step, step), as_float_triple(low))


def _deviation(bspline: Any, frame: Affine, field: DisplacementField) -> Residual:  # noqa: ANN401
    """How far a B-spline is from its field at random points of its domain between the nodes, in µm."""
    share = np.random.default_rng(0).uniform(0, 1, (_SAMPLES, 3))
    points = field.grid.to_physical(share * (np.array(field.grid.shape) - 1))
    shares = _domain(bspline).inverse().map_points(frame.map_points(points))
    points = points[((shares > _RIM) & (shares < 1 - _RIM)).all(axis=1)]
    there = _through(bspline, frame.map_points(points))
    return Residual.between(field.map_points(points), frame.inverse().map_points(there))


def _framed(part: Transform, frame: Affine) -> Transform:
    """Return an affine as ITK has it; fields are turned when they are written."""
    return part if part.affine is None else frame @ part.affine @ frame.inverse()


def _itk_affine(affine: Affine) -> Any:  # noqa: ANN401
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(affine.matrix[:3, :3].ravel().tolist())
    transform.SetTranslation(affine.matrix[:3, 3].tolist())
    return transform


def _itk_field(part: Transform, frame: Affine) -> Any:  # noqa: ANN401
    field = _whole_field(part)
    vectors = field.values.astype(np.float64) @ frame.matrix[:3, :3].T
    return sitk.DisplacementFieldTransform(_image(vectors, field.grid, frame))


def _whole_field(part: Transform) -> DisplacementField:
    """Return all nodes of a field in memory."""
    nodes = part.grid
    field = part if nodes is None else part.load(nodes.origin, nodes.to_physical(np.array(nodes.shape) - 1))
    if not isinstance(field, DisplacementField):
        raise TypeError(f"{type(part).__name__} is no field")
    return field


def _image(vectors: NDArray[Any], grid: Grid, frame: Affine) -> Any:  # noqa: ANN401
    """An image of ITK with (z, y, x, 3) vectors, which are (x, y, z) in ITK's space, at the nodes of our grid."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(vectors), isVector=True)
    _, origin, spacing, direction = _geometry(grid, frame)
    image.SetOrigin(origin)
    image.SetSpacing(spacing)
    image.SetDirection(direction)
    return image


def _geometry(grid: Grid, frame: Affine) -> tuple[list[int], list[float], list[float], list[float]]:
    """Size, origin, spacing and direction of an image of ITK whose voxels are the nodes of our grid."""
    place = frame.matrix @ to_physical(grid)
    axes: Floats = place[:3, :3] @ _REVERSED
    spacing = np.linalg.norm(axes, axis=0)
    size = [int(n) for n in reverse_axes(grid.shape)]
    return size, place[:3, 3].tolist(), spacing.tolist(), (axes / spacing).ravel().tolist()


def _without_rounding(affine: Affine) -> Affine:
    """The affine with zeros where its axes are straight but for rounding."""
    linear = affine.matrix[:3, :3].copy()
    linear[np.abs(linear) < _STRAIGHT * np.abs(linear).max()] = 0
    return Affine.from_parts(linear, affine.matrix[:3, 3])
