"""Fields of every kind against an evaluation of their own: displacements, coordinates, nearest, linear, cubic."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_maps import random_affine, smooth_field
from scipy import interpolate, ndimage

from teralign.grids import Floats, Grid, Region
from teralign.transforms import Affine, Stack, needed_region, warp
from teralign.transforms.field_kind import FieldKind, Interpolation
from teralign.transforms.interpolated_field import InterpolatedField

KINDS = st.builds(FieldKind, st.sampled_from(Interpolation), st.tuples(*[st.booleans()] * 3))


def evaluated(vectors: Floats, grid: Grid, kind: FieldKind, points: Floats) -> Floats:
    """The images of points, by scipy: the sum of the vectors of all nodes, each times a weight along each axis."""
    index = np.clip(grid.to_index(points), 0, np.array(grid.shape) - 1)
    weights = [_weights(kind.interpolation, n)(t) for n, t in zip(grid.shape, index.T, strict=True)]
    values = np.einsum("pi,pj,pk,ijkc->pc", *weights, vectors, optimize=True)
    return np.where(kind.absolute, 0, points) + values


def _weights(interpolation: Interpolation, count: int) -> Callable[[Floats], Floats]:
    """The weights (n, nodes) of the nodes of an axis, as a function of positions (n,) between them."""
    if count == 1:
        return lambda t: np.ones((len(t), 1))
    nodes, one_at_each = np.arange(count), np.eye(count)
    if interpolation is Interpolation.CUBIC:
        return interpolate.CubicSpline(nodes, one_at_each, bc_type="natural")
    if interpolation is Interpolation.LINEAR:
        return interpolate.interp1d(nodes, one_at_each, axis=0)
    return lambda t: one_at_each[np.floor(t + 0.5).astype(int)]


def random_field(seed: int, kind: FieldKind, shape: tuple[int, int, int]) -> tuple[InterpolatedField, Floats]:
    """A field without folds whose coordinates are near its nodes, and its vectors."""
    rng = np.random.default_rng(seed)
    grid = Grid(shape, tuple(rng.uniform(0.5, 3, 3)), tuple(rng.uniform(-20, 20, 3)))
    vectors = smooth_field(rng, grid, 0.2).values.astype(np.float64)
    nodes = grid.to_physical(np.moveaxis(np.indices(shape), 0, -1))
    vectors += np.where(kind.absolute, nodes @ random_affine(rng, 0.1).matrix[:3, :3].T, 0)
    return InterpolatedField.of_nodes(vectors, grid, kind), vectors


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**6), KINDS, st.tuples(*[st.integers(1, 9)] * 3))
def test_points_go_where_the_definition_says(seed: int, kind: FieldKind, shape: tuple[int, int, int]) -> None:
    field, vectors = random_field(seed, kind, shape)
    rng = np.random.default_rng(seed)
    points = field.grid.to_physical(rng.uniform(-2, np.array(shape) + 1, (200, 3)))
    expected = evaluated(vectors, field.grid, kind, points)
    np.testing.assert_allclose(field.map_points(points), expected, atol=3e-5)
    low, high = field.bounds(points.min(axis=0), points.max(axis=0))
    assert ((expected >= low - 3e-5) & (expected <= high + 3e-5)).all()
    affine = random_affine(rng)
    whole = Stack((affine, field, affine)).map_points(points)
    by_hand = affine.map_points(evaluated(vectors, field.grid, kind, affine.map_points(points)))
    if kind.interpolation is not Interpolation.NEAREST:  # a step may lie between the two ways to compute an index
        np.testing.assert_allclose(whole, by_hand, atol=5e-5)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), KINDS, st.tuples(*[st.integers(3, 9)] * 3))
def test_points_come_back(seed: int, kind: FieldKind, shape: tuple[int, int, int]) -> None:
    field, _ = random_field(seed, kind, shape)
    points = field.grid.to_physical(np.random.default_rng(seed).uniform(0, np.array(shape) - 1, (50, 3)))
    images = field.map_points(points)
    found, converged = field.inverse_map_points(images)
    if kind.interpolation is Interpolation.NEAREST:
        return  # steps: many points have one image
    assert converged.all()
    np.testing.assert_allclose(field.map_points(found), images, atol=1e-5)
    np.testing.assert_allclose(found, points, atol=1e-4)


@pytest.mark.parametrize("interpolation", [Interpolation.LINEAR, Interpolation.CUBIC])
def test_coordinates_of_an_affine_are_the_affine(interpolation: Interpolation) -> None:
    grid, affine = Grid((4, 5, 6), (3.0, 2.0, 1.0), (1.0, 2.0, 3.0)), random_affine(np.random.default_rng(3))
    nodes = grid.to_physical(np.indices(grid.shape).reshape(3, -1).T)
    vectors = affine.map_points(nodes).reshape(*grid.shape, 3)
    field = InterpolatedField.of_nodes(vectors, grid, FieldKind(interpolation, (True, True, True)))
    points = grid.to_physical(np.random.default_rng(4).uniform(0, np.array(grid.shape) - 1, (100, 3)))
    np.testing.assert_allclose(field.map_points(points), affine.map_points(points), atol=1e-5)


def test_a_point_that_is_no_coordinate_is_not_found() -> None:
    field, _ = random_field(1, FieldKind(absolute=(True, True, True)), (5, 5, 5))
    far = np.array([field.map_points([field.grid.centre])[0] + 1000])
    assert not field.inverse_map_points(far)[1].any()


@pytest.mark.parametrize("interpolation", list(Interpolation))
@pytest.mark.parametrize("absolute", [(False,) * 3, (True,) * 3, (False, True, False)])
def test_images_are_warped_through_every_kind(
    interpolation: Interpolation, absolute: tuple[bool, bool, bool]
) -> None:
    rng = np.random.default_rng(5)
    image = ndimage.gaussian_filter(rng.normal(size=(20, 22, 24)), 2).astype(np.float32)
    grid = Grid((20, 22, 24), (1.0, 0.9, 0.8))
    kind = FieldKind(interpolation, absolute)
    nodes = Grid((7, 8, 8), (3.2, 3.0, 2.8), (-0.3, 0.2, 0.1))
    vectors = smooth_field(rng, nodes, 1.5).values + np.where(
        absolute, nodes.to_physical(np.moveaxis(np.indices(nodes.shape), 0, -1)), 0
    )
    shift = np.array([0.3, -0.2, 0.5])
    stack = Stack((Affine.from_parts(np.eye(3), shift), InterpolatedField.of_nodes(vectors, nodes, kind)))
    positions = grid.to_physical(np.indices(grid.shape).reshape(3, -1).T)
    index = grid.to_index(evaluated(vectors, nodes, kind, positions) + shift)
    expected = ndimage.map_coordinates(image, index.T, order=1, mode="constant", cval=-9).reshape(grid.shape)
    inside = ((index > 0) & (index < np.array(grid.shape) - 1)).all(axis=1).reshape(grid.shape)
    assert inside.mean() > 0.3
    warped = warp(image, grid, grid=grid, region=grid.region, transform=stack)
    np.testing.assert_allclose(warped[inside], expected[inside], atol=1e-4)
    part = Region((5, 6, 7), (9, 20, 24))
    needed = needed_region(stack, grid, part, grid)
    again = warp(image[needed.slices], grid, grid=grid, region=part, transform=stack, moving_region=needed)
    assert np.array_equal(again, warped[part.slices])
