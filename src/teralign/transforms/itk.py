"""Transforms of ITK, and so of ANTs, SimpleITK and elastix, converted to those of Teralign and back.

ITK's points are (x, y, z) in the physical space of its images, in the unit and along the axes of the images.
Those of Teralign are (z, y, x) in µm in the world. The affine W from points of Teralign to points of ITK is the
*frame* of an image. Both map fixed to moving points, and both apply the last of a list first; so with the frames of
both images

    T_itk = W_m ∘ T ∘ W_f⁻¹.

A list is converted part by part with W_f on both sides, followed by W_m ∘ W_f⁻¹ (`between`).

Outside its grid a field of ITK moves nothing, while a field of Teralign continues with its nearest value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from teralign.errors import InputError
from teralign.grids import Floats, Grid, as_float_triple, as_triple, reverse_axes
from teralign.transforms.affine import Affine
from teralign.transforms.chain import to_index, to_physical
from teralign.transforms.directions import world_affine
from teralign.transforms.field import DisplacementField
from teralign.transforms.field_kind import FieldKind
from teralign.transforms.interpolated_field import InterpolatedField
from teralign.transforms.itk_files import SitkImage, SitkTransform, sitk, type_name
from teralign.transforms.sampling import Residual, node_positions
from teralign.transforms.stack import Stack
from teralign.transforms.transform import Transform
from teralign.volumes import open_volume

_NODES_PER_KNOT = 8  # of a B-spline that is sampled: within 1/500 of what it bends between knots
_STEP = 2.0**14  # distance of the points whose images give a matrix: long, so that rounding does not matter
_STRAIGHT = 1e-9  # relative: how far axes may deviate from straight ones and still count as straight
_REVERSED = np.eye(3)[::-1]
_SAMPLES = 10_000
_LARGEST = float(np.finfo(np.float32).max)
_RIM = 1e-9  # of a B-spline's domain: by rounding, points on its faces count as outside, where it moves nothing


def frame_of_unit(micrometres: float) -> Affine:
    """Return the frame of images with straight axes and a unit of so many µm."""
    return Affine.from_parts(_REVERSED / micrometres)


def frame_of_image(path: str | Path) -> Affine:
    """Return the frame of an image file, with the unit and the axes that ITK reads.

    Raises InputError when ITK, or this package, cannot read its header.
    """
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise InputError(f"{path} is not an image that ITK can read, so its axes are unknown.") from error
    if reader.GetDimension() != 3:
        raise InputError(f"{path} has {reader.GetDimension()} dimensions; give a 3-D image.")
    volume = open_volume(Path(path).absolute())
    stored = volume.description.orientation.to_stored(volume.grid.shape)
    along_axes = Affine(_index_frame(reader).matrix @ stored @ to_index(volume.grid))
    if volume.direction is None:
        return along_axes
    return _without_rounding(along_axes @ world_affine(volume.direction).inverse())


@dataclass(frozen=True)
class Imported:
    """Transforms of ITK, converted; `sampling` is the distance between a field and the B-spline that it samples."""

    parts: tuple[Transform, ...]
    sampling: Residual | None = None


def from_itk(parts: Sequence[SitkTransform], frame: Affine, nodes: Grid | None) -> Imported:
    """Convert ITK transforms, outermost first, with the fixed image's frame on both sides.

    A B-spline is sampled finely over its domain, or on `nodes` if given and it is the last part; outside its domain
    it continues with its nearest value.
    Raises InputError for any other kind of transform.
    """
    converted: list[Transform] = []
    sampling: Residual | None = None
    for number, part in enumerate(parts, start=1):
        if part.IsLinear():
            converted.append(frame.inverse() @ _affine_of(part) @ frame)
        elif isinstance(part, sitk.DisplacementFieldTransform):
            converted.extend(_field_of(part.GetDisplacementField(), frame))
        elif isinstance(part, sitk.BSplineTransform):
            chosen = nodes if number == len(parts) else None  # those before it may take points elsewhere
            field = _sampled(part, frame, chosen or _knots(part, frame))
            sampling = worse(sampling, _deviation(part, frame, field))
            converted.append(field)
        else:
            raise InputError(
                f"a {type_name(part)} of ITK cannot be converted; linear transforms, fields and B-splines can."
            )
    return Imported(tuple(converted), sampling)


def between(fixed: Affine, moving: Affine) -> tuple[Affine, ...]:
    """Return W_m ∘ W_f⁻¹ of two frames, as a list that is empty if they are the same."""
    return () if np.array_equal(fixed.matrix, moving.matrix) else (_without_rounding(moving @ fixed.inverse()),)


def to_itk(stack: Stack, fixed: Affine, moving: Affine) -> list[SitkTransform]:
    """Convert `stack` to ITK transforms, outermost first; stored fields are read whole."""
    framed = Stack((*between(fixed, moving), *(_framed(part, fixed) for part in stack.transforms)))
    parts = framed.simplified().transforms
    return [_itk_field(part, fixed) if part.affine is None else _itk_affine(part.affine) for part in parts]


def field_image(field: DisplacementField, fixed: Affine, moving: Affine) -> SitkImage:
    """Return a whole field as an image of ITK with float32 vectors (x, y, z), between the frames of two images."""
    nodes = node_positions(field.grid)
    vectors = moving.map_points(nodes + field.values.reshape(-1, 3)) - fixed.map_points(nodes)
    return _image(vectors.reshape(field.values.shape).astype(np.float32), field.grid, fixed)


def worse(one: Residual | None, other: Residual | None) -> Residual | None:
    """Return the residual with the larger maximum, ignoring None."""
    if one is None or other is None:
        return one or other
    return max(one, other, key=lambda residual: residual.maximum)


def _affine_of(transform: SitkTransform) -> Affine:
    """Return a linear transform of ITK of any type as an affine of (x, y, z)."""
    origin = np.array(transform.TransformPoint((0.0, 0.0, 0.0)))
    ends = [np.array(transform.TransformPoint(tuple(_STEP * axis))) for axis in np.eye(3)]
    try:
        return Affine.from_parts(np.stack([(end - origin) / _STEP for end in ends], axis=1), origin)
    except ValueError as error:
        raise InputError(f"{error}.") from error


def _field_of(image: SitkImage, frame: Affine) -> tuple[Transform, ...]:
    """Convert a field of ITK: to a field, or if its axes are turned, to a field between the affines that turn it."""
    z, y, x = reverse_axes(image.GetSize())
    to_us = frame.inverse()
    place = _without_rounding(to_us @ _index_frame(image))
    spacing = np.linalg.norm(place.matrix[:3, :3], axis=0)
    vectors: NDArray[np.float64] = sitk.GetArrayFromImage(image)
    turn = place @ Affine.from_parts(np.diag(1 / spacing))
    displacements = vectors @ (np.linalg.inv(turn.matrix[:3, :3]) @ to_us.matrix[:3, :3]).T
    if np.abs(displacements).max(initial=0) > _LARGEST:
        raise InputError("a field of ITK has displacements beyond the range of 32-bit floats; make it again.")
    if np.allclose(turn.matrix[:3, :3], np.eye(3), rtol=0, atol=_STRAIGHT):
        grid = Grid((z, y, x), as_float_triple(spacing), as_float_triple(place.matrix[:3, 3]))
        return (DisplacementField(displacements.astype(np.float32), grid),)
    grid = Grid((z, y, x), as_float_triple(spacing))
    return turn, DisplacementField(displacements.astype(np.float32), grid), turn.inverse()


def _index_frame(image: SitkImage) -> Affine:
    """Return the affine from (z, y, x) indices of an image of ITK to its physical space."""
    direction = np.array(image.GetDirection()).reshape(3, 3)
    return Affine.from_parts((direction * np.array(image.GetSpacing())) @ _REVERSED, np.array(image.GetOrigin()))


def _sampled(bspline: SitkTransform, frame: Affine, grid: Grid) -> DisplacementField:
    """Sample a B-spline at the nodes of our grid; nodes outside its domain take the value of its nearest point."""
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


def _through(transform: SitkTransform, points: Floats) -> Floats:
    """Return the images (n, 3) of (x, y, z) points (n, 3) under an ITK transform."""
    return np.array([transform.TransformPoint(point) for point in points.tolist()]).reshape(-1, 3)


def _domain(bspline: SitkTransform) -> Affine:
    """Return the affine from the unit cube to the domain of a B-spline, in ITK's space."""
    extent = np.array(bspline.GetTransformDomainPhysicalDimensions())
    direction = np.array(bspline.GetTransformDomainDirection()).reshape(3, 3)
    return Affine.from_parts(direction * extent, bspline.GetTransformDomainOrigin())


def _knots(bspline: SitkTransform, frame: Affine) -> Grid:
    """Return nodes over the domain of a B-spline, at least _NODES_PER_KNOT to a knot."""
    domain = frame.inverse() @ _domain(bspline)
    low, high = domain.bounds((0, 0, 0), (1, 1, 1))
    knots = np.linalg.norm(domain.matrix[:3, :3], axis=0) / np.array(bspline.GetTransformDomainMeshSize())
    step = float(knots.min()) / _NODES_PER_KNOT
    shape = np.ceil((high - low) / step - 1e-6) + 1
    return Grid(as_triple(shape), (step, step, step), as_float_triple(low))


def _deviation(bspline: SitkTransform, frame: Affine, field: DisplacementField) -> Residual:
    """Return the distances (µm) of a B-spline and its field at random points of its domain between the nodes."""
    share = np.random.default_rng(0).uniform(0, 1, (_SAMPLES, 3))
    points = field.grid.to_physical(share * (np.array(field.grid.shape) - 1))
    shares = _domain(bspline).inverse().map_points(frame.map_points(points))
    points = points[((shares > _RIM) & (shares < 1 - _RIM)).all(axis=1)]
    there = _through(bspline, frame.map_points(points))
    return Residual.between(field.map_points(points), frame.inverse().map_points(there))


def _framed(part: Transform, frame: Affine) -> Transform:
    """Return an affine as ITK has it; fields are turned when they are written."""
    return part if part.affine is None else frame @ part.affine @ frame.inverse()


def _itk_affine(affine: Affine) -> SitkTransform:
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(affine.matrix[:3, :3].ravel().tolist())
    transform.SetTranslation(affine.matrix[:3, 3].tolist())
    return transform


def _itk_field(part: Transform, frame: Affine) -> SitkTransform:
    field = _whole_field(part)
    vectors = field.values.astype(np.float64) @ frame.matrix[:3, :3].T
    return sitk.DisplacementFieldTransform(_image(vectors, field.grid, frame))


def _whole_field(part: Transform) -> DisplacementField | InterpolatedField:
    """Return all nodes of a field in memory. Raises InputError for one that is no linear field of displacements."""
    nodes = part.grid
    field = part if nodes is None else part.load(nodes.origin, nodes.to_physical(np.array(nodes.shape) - 1))
    if isinstance(field, InterpolatedField) and field.kind != FieldKind():
        raise InputError(
            "a field of coordinates, or of nearest or cubic interpolation, has no form in ITK; make linear "
            "displacements of it by compose-transforms, and convert those."
        )
    if not isinstance(field, DisplacementField | InterpolatedField):
        raise TypeError(f"{type(part).__name__} is no field")
    return field


def _image(vectors: Floats | NDArray[np.float32], grid: Grid, frame: Affine) -> SitkImage:
    """Return an image of ITK with vectors (z, y, x, 3), (x, y, z) in ITK's space, at the nodes of our grid."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(vectors), isVector=True)
    _, origin, spacing, direction = _geometry(grid, frame)
    image.SetOrigin(origin)
    image.SetSpacing(spacing)
    image.SetDirection(direction)
    return image


def _geometry(grid: Grid, frame: Affine) -> tuple[list[int], list[float], list[float], list[float]]:
    """Return size, origin, spacing and direction of an image of ITK whose voxels are the nodes of our grid."""
    place = frame.matrix @ to_physical(grid)
    axes: Floats = place[:3, :3] @ _REVERSED
    spacing = np.linalg.norm(axes, axis=0)
    size = [int(n) for n in reverse_axes(grid.shape)]
    return size, place[:3, 3].tolist(), spacing.tolist(), (axes / spacing).ravel().tolist()


def _without_rounding(affine: Affine) -> Affine:
    """Return the affine with entries that are only rounding errors set to zero."""
    linear = affine.matrix[:3, :3].copy()
    linear[np.abs(linear) < _STRAIGHT * np.abs(linear).max()] = 0
    return Affine.from_parts(linear, affine.matrix[:3, 3])
