import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_maps import positions, random_affine, random_grid, rough_field, smooth_field

from teralign.grids import Grid, Region
from teralign.transforms import (
    Affine,
    DisplacementField,
    Stack,
    as_field,
    cell_determinants,
    folding,
    inverse_field,
    jacobian_determinants,
    representation_error,
    round_trip,
    volume_change,
)

SEEDS = st.integers(0, 2**32 - 1)
VOXEL = 1.0  # µm; the nodes below lie 4 voxels apart
NODES = Grid((12, 14, 16), (4.0, 4.0, 4.0), (5.0, -3.0, 8.0))


@settings(max_examples=100, deadline=None)
@given(SEEDS)
def test_points_come_back_through_an_invertible_stack(seed):
    rng = np.random.default_rng(seed)
    field = smooth_field(rng, NODES, amplitude=rng.uniform(1, 5))
    if folding(field).min_jacobian < 0.1:
        field = DisplacementField(field.values / 3, field.grid)
    stack = Stack((random_affine(rng), field, random_affine(rng, 0.05)))
    points = rng.uniform(-20, 90, (300, 3))
    found, converged = stack.inverse_map_points(stack.map_points(points))
    assert folding(field).min_jacobian > 0
    assert converged.all()
    assert np.abs(found - points).max() < 0.01 * VOXEL


@settings(max_examples=100, deadline=None)
@given(SEEDS)
def test_what_is_said_to_be_found_is_a_solution_even_with_folds(seed):
    rng = np.random.default_rng(seed)
    stack, targets = Stack((random_affine(rng), rough_field(rng, NODES))), rng.uniform(-20, 90, (300, 3))
    found, converged = stack.inverse_map_points(targets)
    np.testing.assert_allclose(stack.map_points(found[converged]), targets[converged], atol=1e-4)


def test_a_point_without_an_inverse_is_not_found():
    flat = np.zeros((1, 1, 2, 3))
    flat[..., 1, 2] = -4.0  # the cell between two nodes 4 µm apart goes to one place
    stack = Stack((DisplacementField(flat, Grid((1, 1, 2), (4.0, 4.0, 4.0))),))
    found, converged = stack.inverse_map_points([[0.0, 0.0, -7.0], [0.0, 0.0, 9.0], [np.nan, 0.0, 0.0]])
    assert converged.tolist() == [True, True, False]
    np.testing.assert_allclose(found[:2], [[0, 0, -7], [0, 0, 13]])


def test_threads_do_not_change_a_bit():
    rng = np.random.default_rng(0)
    stack, points = Stack((smooth_field(rng, NODES),)), rng.uniform(-20, 90, (30_000, 3))
    for one, three in zip(stack.inverse_map_points(points), stack.inverse_map_points(points, threads=3), strict=True):
        assert np.array_equal(one, three)


def test_the_residual_says_how_exact_an_inverse_field_is():
    rng = np.random.default_rng(0)
    stack = Stack((random_affine(rng, 0.05, 2.0), smooth_field(rng, NODES, 2.0, 3.0)))
    inverse, lost = inverse_field(stack, Grid((40, 46, 52), (1.0, 1.0, 1.0), NODES.to_physical([1, 1, 1])))
    residual = round_trip(stack, Stack((inverse,)), inverse.grid)
    assert lost == 0
    assert 0 < residual.mean <= residual.p95 <= residual.maximum < 0.1
    points = inverse.grid.to_physical(rng.uniform(0, 39, (1000, 3)))
    there_and_back = np.linalg.norm(stack.map_points(inverse.map_points(points)) - points, axis=1)
    assert there_and_back.max() < 1.5 * residual.maximum


def test_an_inverse_in_parts_is_that_of_the_whole():
    rng = np.random.default_rng(0)
    stack, nodes = Stack((smooth_field(rng, NODES),)), Grid((9, 10, 11), (5.0, 5.0, 5.0))
    whole, _ = inverse_field(stack, nodes)
    for region in nodes.region.split((4, 5, 6)):
        part, _ = inverse_field(stack, nodes, region=region)
        assert np.array_equal(part.values, whole.values[region.slices])


def test_nodes_without_an_inverse_take_the_displacement_of_their_neighbours():
    rng = np.random.default_rng(0)
    fold = rough_field(rng, NODES, 8.0)
    field, lost = inverse_field(Stack((fold,)), NODES)
    assert lost > 0
    assert np.isfinite(field.values).all()


def test_a_sampled_stack_is_the_stack_at_the_nodes():
    rng = np.random.default_rng(0)
    stack = Stack((random_affine(rng), smooth_field(rng, random_grid(rng))))
    region = Region((2, 3, 4), (9, 10, 11))
    sampled = as_field(stack, NODES, region=region)
    at = positions(NODES, region)
    np.testing.assert_allclose(sampled.map_points(at), stack.map_points(at), atol=1e-5)
    assert np.array_equal(sampled.values, as_field(stack, NODES).values[region.slices])


def test_the_jacobian_of_a_linear_field_is_its_determinant_everywhere():
    rng = np.random.default_rng(0)
    affine = random_affine(rng, 0.2)
    determinants = jacobian_determinants(as_field(Stack((affine,)), NODES), threads=2)
    np.testing.assert_allclose(determinants, np.linalg.det(affine.matrix[:3, :3]), rtol=1e-4)


def test_a_fold_is_seen_where_it_is():
    field = DisplacementField.zeros(NODES)
    field.values[6, 7, 8, 2] = 5.0  # this node passes the next one, 4 µm away
    determinants = jacobian_determinants(field)
    assert np.argwhere(determinants <= 0).tolist() == [[6, 7, 8], [6, 7, 9]]
    np.testing.assert_allclose(determinants[6, 7, 8:10], 1 - 5 / 4)
    found = folding(field)
    assert found.min_jacobian == pytest.approx(-0.25)
    assert found.share == pytest.approx(2 / NODES.region.size)


def test_cells_and_nodes_have_the_same_smallest_determinants():
    values = np.random.default_rng(0).normal(scale=2, size=(5, 6, 7, 3)).astype(np.float32)
    field = DisplacementField(values, Grid((5, 6, 7), (3.0, 2.0, 2.0)))
    nodes, cells = jacobian_determinants(field), cell_determinants(field)
    assert cells.shape == (4, 5, 6)
    assert cells.min() == nodes.min()
    around = np.pad(cells, 1, constant_values=np.inf)
    corners = [around[i : i + 5, j : j + 6, k : k + 7] for i in (0, 1) for j in (0, 1) for k in (0, 1)]
    assert (np.min(corners, axis=0) <= nodes).all()


def test_a_single_plane_has_a_plane_of_cells():
    values = np.zeros((1, 4, 5, 3), np.float32)
    values[..., 2] = 0.1 * np.arange(5)
    found = cell_determinants(DisplacementField(values, Grid((1, 4, 5), (1.0, 1.0, 1.0))))
    np.testing.assert_allclose(found, np.full((1, 3, 4), 1.1), rtol=1e-6)


def test_the_volume_change_of_a_stack_is_the_product_of_its_parts():
    rng = np.random.default_rng(0)
    affine, field = random_affine(rng, 0.2), smooth_field(rng, NODES)
    wanted = np.linalg.det(affine.matrix[:3, :3]) * jacobian_determinants(field)
    found = volume_change(Stack((affine, field)), NODES, NODES.region, threads=2)
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_the_volume_change_in_parts_is_that_of_the_whole():
    stack = Stack((smooth_field(np.random.default_rng(0), NODES),))
    whole = volume_change(stack, NODES, NODES.region)
    for region in NODES.region.split((5, 6, 7)):
        np.testing.assert_allclose(volume_change(stack, NODES, region), whole[region.slices], rtol=1e-6)


def test_a_long_way_costs_the_volume_change_no_digits():
    nodes = Grid((6, 7, 8), (0.5, 0.5, 0.5))
    far = Stack((Affine.from_parts(np.diag([1.0, 1.001, 1.0]), (3e5, -2e5, 1e5)),))
    np.testing.assert_allclose(volume_change(far, nodes, nodes.region), 1.001, rtol=1e-6)


def test_a_single_plane_of_nodes_has_a_volume_change():
    plane = Grid((1, 5, 6), (2.0, 2.0, 2.0))
    affine = random_affine(np.random.default_rng(0), 0.2)
    found = volume_change(Stack((affine,)), plane, plane.region)
    np.testing.assert_allclose(found, np.linalg.det(affine.matrix[:3, :3]), rtol=1e-5)


def test_the_representation_error_of_a_wave_is_that_of_linear_interpolation():
    wave, height, length = 30.0, 2.0, 2 * np.pi

    def point_map(points):
        return points + height * np.sin(length * points[:, 2:] / wave) * [0.0, 0.0, 1.0]

    for spacing in (1.0, 2.0, 4.0):
        grid = Grid((3, 3, int(90 / spacing) + 1), (spacing,) * 3)
        bound = height * (length / wave) ** 2 * spacing**2 / 8
        error = representation_error(point_map, grid)
        assert 0.9 * bound < error.maximum < 1.01 * bound
        assert error.mean < error.p95 < error.maximum
