"""Trials find what is wrong with a pair, and name a value that would do; of noise they find nothing."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from phantoms import Scene
from teralign.grids import Grid, as_float_triple
from teralign.registration import Image
from teralign.transforms import Affine
from teralign.trust import advice_of, find_remedy

GRID = Grid((72, 80, 88), (2.0, 2.0, 2.0))
SHIFT = Affine.from_parts(np.eye(3), [6.0, -4.0, 8.0])


@cache
def rounds() -> tuple[Image, Image]:
    """Two rounds of one tissue."""
    scene = Scene.cells(np.array(GRID.extent), count=500, radius=7.0)
    return scene.draw(GRID), scene.draw(GRID, SHIFT.inverse().map_points, seed=1)


@pytest.mark.parametrize(("axis", "name"), [(0, "z"), (1, "y"), (2, "x")])
def test_a_mirrored_axis_is_named_with_a_start(axis, name):
    fixed, moving = rounds()
    found = find_remedy(fixed, Image(np.flip(moving.array, axis).copy(), GRID))
    assert found is not None
    advice = advice_of(found, GRID.spacing)
    assert advice.cause == f"mirrored along {name}"
    assert advice.option == "--initial-transform"
    rows = [[float(v) for v in row.split()] for row in advice.value.split("; ")]
    middle = np.array(GRID.extent) / 2
    truth = SHIFT.map_points(middle[np.newaxis])[0]
    truth[axis] = GRID.spacing[axis] * (GRID.shape[axis] - 1) - truth[axis]
    assert np.linalg.norm(Affine(np.array(rows)).map_points(middle[np.newaxis])[0] - truth) < 4


@cache
def small_rounds() -> tuple[Image, Image]:
    """Two rounds of a small tissue: turns are tried last, after all else."""
    grid = Grid((40, 44, 48), GRID.spacing)
    scene = Scene.cells(np.array(grid.extent), count=300, radius=4.5)
    return scene.draw(grid), scene.draw(grid, SHIFT.inverse().map_points, seed=1)


def test_a_turned_volume_is_named_with_a_start_that_would_do():
    fixed, moving = small_rounds()
    axes = (0, 2)
    turned = np.rot90(moving.array, -1, axes).copy()
    found = find_remedy(fixed, Image(turned, Grid(turned.shape, GRID.spacing)))
    assert found is not None
    advice = advice_of(found, GRID.spacing)
    assert (advice.cause, advice.option) == ("turned by 90° about y", "--initial-transform")
    assert advice.value is not None
    start = Affine(np.array([[float(v) for v in row.split()] for row in advice.value.split("; ")]))
    # Which voxel each one of the turned array shows, as turning an array of numbers says itself.
    shape = moving.array.shape
    numbers = np.rot90(np.arange(moving.array.size).reshape(shape), -1, axes)
    places = np.array([[15, 20, 20], [20, 15, 25], [22, 25, 18]])
    shown = np.stack(np.unravel_index(numbers[tuple(places.T)], shape), axis=1) * np.array(GRID.spacing)
    mapped = start.map_points(SHIFT.inverse().map_points(shown))
    assert np.linalg.norm(mapped - places * np.array(GRID.spacing), axis=1).max() < 4


@pytest.mark.parametrize(("axis", "factor", "value"), [(0, 5.0, "2,2,2"), (0, 0.5, "2,2,2")])
def test_a_voxel_size_that_is_wrong_on_one_axis_is_named(axis, factor, value):
    fixed, moving = rounds()
    wrong = as_float_triple(d * (factor if i == axis else 1) for i, d in enumerate(GRID.spacing))
    found = find_remedy(fixed, Image(moving.array, Grid(GRID.shape, wrong)))
    assert found is not None
    advice = advice_of(found, wrong)
    assert (advice.option, advice.value) == ("--moving-spacing", value)


def test_noise_has_no_remedy():
    fixed, _ = rounds()
    noise = np.random.default_rng(0).poisson(200, (40, 40, 40)).astype(np.uint16)
    assert find_remedy(fixed, Image(noise, Grid((40, 40, 40), GRID.spacing))) is None
