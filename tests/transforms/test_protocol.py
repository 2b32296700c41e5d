"""Affines, fields in memory and fields on disk follow one protocol."""

import pickle

import numpy as np
import pytest
from random_maps import random_affine, smooth_field

from teralign.grids import Grid
from teralign.transforms import Stack, Transform, load_stack, save_field

NODES = Grid((10, 11, 12), (6.0, 5.0, 4.0), (-3.0, 11.0, 7.0))
LOW, HIGH = np.array([5.0, 20.0, 15.0]), np.array([40.0, 50.0, 45.0])
POINTS = np.random.default_rng(0).uniform(LOW, HIGH, (200, 3))


@pytest.fixture(params=["affine", "field", "stored"])
def transform(request, tmp_path) -> Transform:
    rng = np.random.default_rng(1)
    if request.param == "affine":
        return random_affine(rng, 0.05, 3.0)
    field = smooth_field(rng, NODES, 2.0)
    return field if request.param == "field" else save_field(tmp_path / "field.zarr", field)


def test_a_transform_has_a_grid_or_is_an_affine(transform):
    assert (transform.grid is None) == (transform.affine is not None)
    assert Stack((transform, transform)).grids == (() if transform.grid is None else (NODES, NODES))


def test_what_is_loaded_maps_the_same_points(transform):
    mapped = transform.map_points(POINTS)
    assert np.array_equal(transform.load(LOW, HIGH).map_points(POINTS), mapped)
    assert transform.loaded is None or transform.loaded is transform
    low, high = transform.bounds(LOW, HIGH)
    assert ((mapped >= low) & (mapped <= high)).all()


def test_points_come_back(transform):
    found, converged = transform.inverse_map_points(transform.map_points(POINTS))
    assert converged.all()
    np.testing.assert_allclose(found, POINTS, atol=1e-4)


def test_a_digest_stays_and_travels(transform):
    again = pickle.loads(pickle.dumps(transform))
    assert transform.digest() == again.digest()
    assert Stack((transform,)).digest() != Stack().digest()
    assert np.array_equal(again.map_points(POINTS), transform.map_points(POINTS))


def test_stacks_compose_as_matrices_do(transform, tmp_path):
    first, last = random_affine(np.random.default_rng(2), 0.05, 2.0), Stack((transform,))
    one, both = last @ first, last @ Stack((first,))
    wanted = transform.map_points(first.map_points(POINTS))
    np.testing.assert_allclose(one.map_points(POINTS), wanted, atol=1e-9)
    assert np.array_equal(one.map_points(POINTS), both.map_points(POINTS))
    first.save(tmp_path / "a.mat")
    loaded = load_stack([tmp_path / "a.mat", str(tmp_path / "a.mat")])
    np.testing.assert_allclose(loaded.affine.matrix, (first @ first).matrix)
