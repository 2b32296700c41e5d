"""`teralign.align` on arrays in memory: three lines do, and a mistake gets one sentence."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from small_rounds import GRID, SPACING

import teralign as ta
from phantoms import errors
from teralign.errors import InputError


def test_three_lines_align_two_arrays(rounds, found):
    aligned = found.warp(rounds.moving)
    assert errors(found.map_points, rounds.truth.map_points, GRID).max() < 0.5
    assert aligned.shape == rounds.fixed.shape
    assert aligned.dtype == rounds.moving.dtype


def test_points_go_there_and_back(found):
    points = np.array([[40.0, 50.0, 60.0], [20.0, 30.0, 70.0]])
    there = found.map_points(points)
    np.testing.assert_allclose(found.map_points(there, inverse=True), points, atol=1e-5)
    np.testing.assert_array_equal(found.map_points(points[0]), there[0])


def test_steps_as_names_and_with_their_parameters(rounds):
    steps = ["ransac", ("rigid", {"alignment_spacing": 5.0}), {"affine": {"shrink_factors": [2]}}]
    found = ta.align(rounds.fixed, rounds.moving, spacing=SPACING, steps=steps)
    assert [step.name for step in found.steps] == ["ransac", "rigid", "affine"]


def test_a_configuration_and_its_steps_in_blocks(rounds):
    found = ta.align(rounds.fixed, rounds.moving, spacing=SPACING, config={"global_align": {"steps": ["ransac"]}})
    assert [step.name for step in found.steps] == ["ransac"]
    assert found.blocks.blocks == 1


def test_representation_says_the_verdict_first(found):
    assert repr(found).startswith(f"Registration({found.verdict}")
    assert found.assessment is not None


def test_a_start_is_kept_and_refined(rounds, found):
    """What bigstream calls a static transform: a matrix, a registration, a list of them."""
    start = found.transform.affine.matrix
    kept = ta.align(rounds.fixed, rounds.moving, spacing=SPACING, steps=[], initial_transform=start)
    np.testing.assert_array_equal(kept.transform.affine.matrix, start)
    assert kept.verdict == "unknown"
    shift = np.eye(4)
    shift[:3, 3] = 1.0, 0.0, 0.0
    both = ta.align(rounds.fixed, rounds.moving, spacing=SPACING, steps=[], initial_transform=[shift, found])
    point = [20.0, 20.0, 20.0]
    np.testing.assert_allclose(both.map_points(point), found.map_points(point) + shift[:3, 3])
    again = ta.align(rounds.fixed, rounds.moving, spacing=SPACING, steps=["affine"], initial_transform=found)
    assert errors(again.map_points, rounds.truth.map_points, GRID).max() < 0.5


def test_masks_leave_out_voxels(rounds):
    """A bright cube that is in the same place in both images misleads, unless the masks leave it out."""
    fixed, moving = rounds.fixed.copy(), rounds.moving.copy()
    for image in (fixed, moving):
        image[10:26, 10:34, 10:34] = 20_000
    counts = np.ones(GRID.shape, bool)
    counts[8:28, 8:36, 8:36] = False
    steps = ["ransac", "affine"]
    masked = ta.align(fixed, moving, spacing=SPACING, steps=steps, fixed_mask=counts, moving_mask=counts)
    assert errors(masked.map_points, rounds.truth.map_points, GRID).max() < 2.0
    placed = xr.DataArray(counts[::2, ::2, ::2], dims=("z", "y", "x"))
    with pytest.raises(InputError, match="fixed_mask has shape"):
        ta.align(fixed, moving, spacing=SPACING, fixed_mask=placed)


def test_images_may_be_data_arrays_with_other_origins_and_units(rounds, found):
    def placed(array, origin):
        positions = {
            name: (name, (first + np.arange(n) * step) * 1000, {"units": "nm"})
            for name, n, step, first in zip("zyx", array.shape, SPACING, origin, strict=True)
        }
        return xr.DataArray(array, coords=positions, dims=("z", "y", "x"))

    fixed, moving = placed(rounds.fixed, (100.0, 0.0, 0.0)), placed(rounds.moving, (0.0, -50.0, 0.0))
    shifted = ta.align(
        fixed,
        moving,
        steps=["ransac", "affine"],
        initial_transform=np.array([[1, 0, 0, -100], [0, 1, 0, -50], [0, 0, 1, 0], [0, 0, 0, 1]], dtype=float),
    )
    z, y, x = found.map_points([40.0, 50.0, 40.0])
    np.testing.assert_allclose(shifted.map_points([140.0, 50.0, 40.0]), [z, y - 50.0, x], atol=0.1)
    assert shifted.fixed.grid.origin == (100.0, 0.0, 0.0)


def placed_badly(array, **coords):
    return xr.DataArray(array, dims=("z", "y", "x"), coords=coords)


WRONG = [
    ({}, "voxel size of the fixed array"),
    ({"fixed_spacing": 2.5}, "voxel size of the moving array"),
    ({"spacing": (1.0, 2.0)}, "three numbers"),
    ({"spacing": "2.5"}, "three numbers"),
    ({"spacing": (0.0, 1.0, 1.0)}, "positive"),
    ({"spacing": 2.5, "steps": "ransac,affine"}, "list of names, such as ['ransac', 'affine']"),
    ({"spacing": 2.5, "steps": ["ransack"]}, "no step 'ransack'; did you mean 'ransac'"),
    ({"spacing": 2.5, "steps": [("affine", {"metrik": "MMI"})]}, "metrik"),
    ({"spacing": 2.5, "steps": [3]}, "a step must be a name"),
    ({"spacing": 2.5, "start": None}, "no option start"),
    ({"spacing": 2.5, "fixed_masks": None}, "did you mean fixed_mask?"),
    ({"spacing": 2.5, "fixed_mask": np.ones((3, 3, 3))}, "fixed_mask has shape (3, 3, 3)"),
    ({"spacing": 2.5, "fixed_mask": (0, 1)}, "fixed_mask must be"),
    ({"spacing": 2.5, "moving_mask": np.zeros(GRID.shape)}, "moving_mask has no voxel above 0"),
    ({"spacing": 2.5, "initial_transform": np.eye(3)}, "four rows of four numbers"),
    ({"spacing": 2.5, "initial_transform": np.zeros((2, 2, 2, 3))}, "neither a 4x4 matrix nor a field"),
    ({"spacing": 2.5, "initial_transform": 3}, "an initial transform must be"),
    ({"spacing": 2.5, "client": 3}, "client must be"),
    ({"spacing": 2.5, "output": "x.zarr"}, "found.save(path)"),
]


@pytest.mark.parametrize(("options", "sentence"), WRONG, ids=[sentence for _, sentence in WRONG])
def test_wrong_calls_get_one_sentence(rounds, options, sentence):
    with pytest.raises(InputError) as caught:
        ta.align(rounds.fixed, rounds.moving, **options)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


WRONG_IMAGES = [
    (lambda image: image[0], "two dimensions"),
    (lambda image: image[None], "4 dimensions"),
    (lambda image: 3, "not a int"),
    (lambda image: image.astype(complex), "real numbers"),
    (lambda image: image.astype(object), "real numbers"),
    (lambda image: image[:0], "no voxels"),
    (lambda image: np.zeros_like(image), "nothing to align"),
    (lambda image: xr.DataArray(image), "needs z, y and x"),
    (lambda image: xr.DataArray(image, dims=("z", "y", "x"), coords={"z": np.arange(40) ** 2}), "even steps"),
    (
        lambda image: xr.DataArray(
            image, dims=("z", "y", "x"), coords={"z": ("z", np.arange(40), {"units": "furlong"})}
        ),
        "no known length",
    ),
    (
        lambda image: xr.DataArray(np.stack([image, image]), dims=("c", "z", "y", "x")),
        "2 entries along c: choose one",
    ),
]


@pytest.mark.parametrize(("change", "sentence"), WRONG_IMAGES, ids=[sentence for _, sentence in WRONG_IMAGES])
def test_images_that_cannot_be_aligned_are_refused(rounds, change, sentence):
    with pytest.raises(InputError, match=sentence):
        ta.align(change(rounds.fixed), rounds.moving, spacing=2.5)


def test_a_data_array_without_coordinates_needs_a_spacing(rounds):
    bare = xr.DataArray(rounds.fixed, dims=("z", "y", "x"))
    with pytest.raises(InputError, match="no coordinates along z, y, x"):
        ta.align(bare, bare)


def test_the_steps_may_stand_third(rounds, found):
    again = ta.align(rounds.fixed, rounds.moving, ["ransac", "affine"], spacing=SPACING)
    assert np.array_equal(again.map_points([40.0, 30.0, 30.0]), found.map_points([40.0, 30.0, 30.0]))


@pytest.mark.parametrize(
    ("third", "options", "sentence"),
    [
        (["ransac"], {"start": None}, "did you mean initial_transform"),
        (["ransac"], {"fix_spacing": SPACING}, "did you mean fixed_spacing"),
        (SPACING, {}, r"the voxel size is spacing=\(z, y, x\)"),
        (np.eye(4), {}, "a start is initial_transform="),
    ],
)
def test_natural_first_calls_are_told_the_name(rounds, third, options, sentence):
    with pytest.raises(ta.InputError, match=sentence):
        ta.align(rounds.fixed, rounds.moving, third, **{"spacing": SPACING, **options})
