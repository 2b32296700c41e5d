import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from hypothesis import given, settings
from hypothesis import strategies as st
from random_maps import random_affine, random_grid, random_stack, rough_field
from scipy import ndimage

from teralign.grids import Grid, Region
from teralign.transforms import Affine, DisplacementField, Stack

SEEDS = st.integers(0, 2**32 - 1)
KINDS = st.text("af", max_size=4)


def test_a_field_is_trilinear_and_continues_with_its_nearest_value():
    rng = np.random.default_rng(0)
    field = rough_field(rng, Grid((5, 1, 7), (2.0, 3.0, 1.5), (10.0, -4.0, 3.0)))
    points = rng.uniform(-20, 40, (500, 3))
    index = field.grid.to_index(points).T
    u = [
        ndimage.map_coordinates(c.astype(float), index, order=1, mode="nearest")
        for c in np.moveaxis(field.values, -1, 0)
    ]
    np.testing.assert_allclose(field.map_points(points), points + np.transpose(u), atol=1e-6)


def test_points_go_where_simpleitk_takes_them_through_a_field_and_an_affine():
    rng = np.random.default_rng(1)
    field = rough_field(rng, Grid((6, 7, 8), (2.0, 3.0, 1.5), (10.0, -4.0, 3.0)))
    affine = random_affine(rng)
    vectors = sitk.GetImageFromArray(field.values[..., ::-1].astype(np.float64), isVector=True)
    vectors.SetSpacing(field.grid.spacing[::-1])
    vectors.SetOrigin(field.grid.origin[::-1])
    linear = sitk.AffineTransform(3)
    linear.SetMatrix(affine.matrix[:3, :3][::-1, ::-1].ravel().tolist())
    linear.SetTranslation(affine.matrix[:3, 3][::-1].tolist())
    theirs = sitk.CompositeTransform([linear, sitk.DisplacementFieldTransform(vectors)])
    points = field.grid.to_physical(rng.uniform(0.01, 0.99, (100, 3)) * (np.array(field.grid.shape) - 1))
    expected = [theirs.TransformPoint(p[::-1].tolist())[::-1] for p in points]
    np.testing.assert_allclose(Stack((affine, field)).map_points(points), expected, atol=1e-6)


@settings(max_examples=100, deadline=None)
@given(SEEDS, KINDS)
def test_a_stack_applies_its_last_transform_first(seed, kinds):
    rng = np.random.default_rng(seed)
    grid = random_grid(rng)
    stack, points = random_stack(rng, grid, kinds), rng.uniform(-60, 80, (40, 3))
    expected = points
    for part in reversed(stack.transforms):
        expected = part.map_points(expected)
    np.testing.assert_allclose(stack.map_points(points), expected, atol=1e-9)
    np.testing.assert_allclose(stack.simplified().map_points(points), expected, atol=1e-9)


@settings(max_examples=100, deadline=None)
@given(SEEDS, KINDS)
def test_bounds_hold_the_image_of_a_box(seed, kinds):
    rng = np.random.default_rng(seed)
    grid = random_grid(rng)
    stack, low = random_stack(rng, grid, kinds), grid.to_physical(rng.uniform(-5, 20, 3))
    high = low + rng.uniform(0, 30, 3)
    mapped = stack.map_points(rng.uniform(low, high, (300, 3)))
    a, b = stack.bounds(low, high)
    assert (mapped >= a).all()
    assert (mapped <= b).all()


def test_threads_do_not_change_a_bit():
    rng = np.random.default_rng(2)
    stack = random_stack(rng, random_grid(rng), "afa")
    points = rng.uniform(-60, 80, (50_000, 3))
    assert np.array_equal(stack.map_points(points, threads=3), stack.map_points(points))


def test_a_part_of_a_field_maps_the_points_of_its_part_to_the_same_bits():
    rng = np.random.default_rng(3)
    field = rough_field(rng, Grid((12, 13, 14), (2.0, 3.0, 1.5)))
    region = Region((3, 4, 5), (9, 10, 12))
    part = DisplacementField(field.values[region.slices], field.grid, region)
    points = field.grid.to_physical(rng.uniform(region.start, np.array(region.stop) - 1, (500, 3)))
    assert np.array_equal(part.map_points(points), field.map_points(points))


def test_runs_of_affines_become_one():
    rng = np.random.default_rng(4)
    a, b = random_affine(rng), random_affine(rng)
    assert len(Stack((a, b, DisplacementField.zeros(random_grid(rng)), a, b)).simplified().transforms) == 3
    np.testing.assert_allclose(Stack((a, b)).affine.matrix, (a @ b).matrix)
    assert Stack((DisplacementField.zeros(random_grid(rng)),)).affine is None


def test_digests_tell_transforms_apart():
    rng = np.random.default_rng(5)
    a, b = random_affine(rng), random_affine(rng)
    assert Stack((a, b)).digest() == Stack((Affine(a.matrix), b)).digest()
    assert Stack((a, b)).digest() != Stack((b, a)).digest()


def test_a_field_whose_values_do_not_fit_is_refused():
    with pytest.raises(ValueError, match="cannot have values"):
        DisplacementField(np.zeros((2, 3, 4)), Grid((2, 3, 4), (1, 1, 1)))
    with pytest.raises(ValueError, match="not all in a grid"):
        DisplacementField(np.zeros((2, 3, 4, 3)), Grid((2, 3, 4), (1, 1, 1)), Region((1, 0, 0), (3, 3, 4)))
    with pytest.raises(ValueError, match=r"\(n, 3\)"):
        Stack().map_points(np.zeros(3))
