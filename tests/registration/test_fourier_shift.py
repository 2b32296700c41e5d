import numpy as np
import pytest

from phantoms import Scene, affine_about, cube, pair
from teralign.grids import Grid
from teralign.registration import Image
from teralign.registration.fourier_shift import find_shift

SCENE = Scene.cells()


@pytest.mark.parametrize("shift", [(0.0, 0.0, 0.0), (6.3, -20.2, 41.0), (-40.0, 55.0, 0.0)])
def test_a_shift_is_found_to_a_fraction_of_a_voxel(shift):
    fixed, moving = pair(SCENE, cube(), cube(), affine_about(np.zeros(3), shift=shift))
    found = find_shift(fixed, moving)
    assert found.significant
    assert not found.inverted
    np.testing.assert_allclose(found.translation, shift, atol=0.6)


def test_voxel_sizes_origins_and_shapes_may_differ():
    shift = (4.0, -12.0, 20.0)
    fixed_grid, moving_grid = (
        Grid((30, 64, 50), (5.0, 2.5, 3.0), (2.0, 0.0, 8.0)),
        Grid((70, 51, 60), (2.0, 3.0, 2.5)),
    )
    fixed, moving = pair(SCENE, fixed_grid, moving_grid, affine_about(np.zeros(3), shift=shift))
    found = find_shift(fixed, moving)
    assert found.significant
    np.testing.assert_allclose(found.translation, shift, atol=1.5)


def test_inverted_brightness_is_seen_where_it_is_allowed():
    shift = (5.0, -10.0, 15.0)
    fixed, moving = pair(SCENE, cube(), cube(), affine_about(np.zeros(3), shift=shift))
    found = find_shift(fixed, moving.negative(), inverted=True)
    assert found.inverted
    np.testing.assert_allclose(found.translation, shift, atol=1.5)


def test_what_is_masked_out_does_not_pull():
    shift = (0.0, 10.0, -15.0)
    fixed, moving = pair(SCENE, cube(), cube(), affine_about(np.zeros(3), shift=shift))
    grids, masks = [], []
    for image in (fixed, moving):  # the same artefact in the same place of both: it says that nothing moved
        image.array[20:30, 20:30, 20:30] += (np.indices((10, 10, 10)).sum(axis=0) % 2 * 9000).astype(np.uint16)
        mask = np.ones(image.array.shape, bool)
        mask[18:32, 18:32, 18:32] = False
        grids.append(image)
        masks.append(mask)
    found = find_shift(*(Image(i.array, i.grid, mask) for i, mask in zip(grids, masks, strict=True)))
    np.testing.assert_allclose(found.translation, shift, atol=1.0)


def test_noise_has_no_significant_peak():
    rng = np.random.default_rng(0)
    images = [Image(rng.integers(0, 1000, (48, 48, 48)).astype(np.uint16), cube(48)) for _ in range(2)]
    assert not find_shift(*images).significant


def test_flat_and_empty_images_have_none():
    flat = Image(np.full((20, 20, 20), 9, np.uint16), cube(20))
    assert not find_shift(flat, SCENE.draw(cube(20))).significant
    unseen = Image(flat.array, flat.grid, np.zeros(flat.array.shape, bool))
    assert not find_shift(unseen, unseen).significant
