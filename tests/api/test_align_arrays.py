"""`teralign.align` on arrays in memory: three lines do, and a mistake gets one sentence."""

from __future__ import annotations

import numpy as np
import pytest

import teralign as ta
from phantoms import Scene, affine_about, cube, errors
from phantoms import pair as drawn_pair
from teralign.errors import InputError

GRID = cube(40)
TRUTH = affine_about(GRID.centre, scale=(1.02, 0.99, 1.01), shift=(4.0, -5.0, 3.0))


@pytest.fixture(scope="module")
def images():
    fixed, moving = drawn_pair(Scene.cells(100.0), GRID, GRID, TRUTH)
    return fixed.array, moving.array


@pytest.fixture(scope="module")
def found(images):
    return ta.align(*images, spacing=2.5)


def test_three_lines_align_two_arrays(images, found):
    aligned = found.warp(images[1])
    assert errors(found.map_points, TRUTH.map_points, GRID).max() < 0.5
    assert aligned.shape == images[0].shape
    assert aligned.dtype == images[1].dtype


def test_points_go_there_and_back(found):
    points = np.array([[40.0, 50.0, 60.0], [20.0, 30.0, 70.0]])
    there = found.map_points(points)
    np.testing.assert_allclose(found.map_points(there, inverse=True), points, atol=1e-5)
    np.testing.assert_array_equal(found.map_points(points[0]), there[0])


def test_steps_as_names_and_with_their_parameters(images):
    found = ta.align(*images, spacing=2.5, steps=["ransac", ("rigid", {"alignment_spacing": 5.0})])
    assert [step.name for step in found.steps] == ["ransac", "rigid"]


def test_representation_says_the_verdict_first(found):
    assert repr(found).startswith(f"Registration({found.verdict}")


WRONG = [
    ({}, "voxel size of the fixed array"),
    ({"fixed_spacing": 2.5}, "voxel size of the moving array"),
    ({"spacing": (1.0, 2.0)}, "three numbers"),
    ({"spacing": (0.0, 1.0, 1.0)}, "positive"),
    ({"spacing": 2.5, "steps": "ransac,affine"}, "list of names, such as ['ransac', 'affine']"),
    ({"spacing": 2.5, "steps": ["ransack"]}, "no step 'ransack'; did you mean 'ransac'"),
    ({"spacing": 2.5, "steps": [("affine", {"metrik": "MMI"})]}, "metrik"),
    ({"spacing": 2.5, "start": None}, "no option start"),
    ({"spacing": 2.5, "fixed_mask": np.ones((3, 3, 3))}, "fixed_mask has shape (3, 3, 3)"),
    ({"spacing": 2.5, "moving_mask": np.zeros(GRID.shape)}, "moving_mask has no voxel above 0"),
    ({"spacing": 2.5, "initial_transform": np.eye(3)}, "four rows of four numbers"),
]


@pytest.mark.parametrize(("options", "sentence"), WRONG, ids=[sentence for _, sentence in WRONG])
def test_wrong_calls_get_one_sentence(images, options, sentence):
    with pytest.raises(InputError) as caught:
        ta.align(*images, **options)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_images_that_are_no_volumes_are_refused(images):
    for image, sentence in ((images[0][0], "two dimensions"), (images[0][None], "4 dimensions"), (3, "not a int")):
        with pytest.raises(InputError, match=sentence):
            ta.align(image, images[1], spacing=2.5)
