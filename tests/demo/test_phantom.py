import numpy as np
import pytest
from scipy import ndimage as ndi

from teralign.demo import make_phantom
from teralign.grids import Region

SHAPE = (72, 96, 100)


@pytest.fixture(scope="module")
def phantom():
    return make_phantom(SHAPE, seed=3)


@pytest.fixture(scope="module")
def rounds(phantom):
    return [view.render(view.grid.region) for view in (phantom.fixed, phantom.moving)]


def test_rounds_have_nearly_the_same_shape(phantom):
    assert phantom.fixed.grid.shape == SHAPE
    ratio = np.array(phantom.moving.grid.shape) / SHAPE
    assert (ratio != 1).all() and (np.abs(ratio - 1) < 0.06).all()


def test_tiles_do_not_show(phantom, rounds):
    for view, whole in zip((phantom.fixed, phantom.moving), rounds, strict=True):
        for tile in (Region((0, 0, 0), (31, 17, 64)), Region((20, 40, 30), (50, 70, 93))):
            assert np.array_equal(view.render(tile), whole[tile.slices])


def test_one_seed_gives_one_scene(phantom, rounds):
    region = Region((10, 10, 10), (40, 40, 40))
    assert np.array_equal(make_phantom(SHAPE, seed=3).moving.render(region), rounds[1][region.slices])
    assert not np.array_equal(make_phantom(SHAPE, seed=4).moving.render(region), rounds[1][region.slices])


def test_both_rounds_show_the_same_tissue_through_the_true_map(phantom, rounds):
    """The moving round, seen through the map, looks like the fixed one, and less so a voxel and a half aside."""
    fixed, moving = (ndi.gaussian_filter(a.astype(np.float32), 0.7) for a in rounds)
    index = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), axis=-1).reshape(-1, 3)
    places = phantom.true_map.to_moving(phantom.fixed.grid.to_physical(index))

    def likeness(offset):
        at = phantom.moving.grid.to_index(places + offset)
        inside = ((at > 0) & (at < np.array(moving.shape) - 1)).all(axis=1)
        seen = ndi.map_coordinates(moving, at[inside].T, order=1)
        return np.corrcoef(fixed.ravel()[inside], seen)[0, 1]

    aligned = likeness(np.zeros(3))
    assert aligned > 0.8
    for axis in range(3):
        for sign in (-1, 1):
            assert likeness(sign * 1.4 * np.eye(3)[axis]) < aligned - 0.03


def test_landmarks_are_cells_of_both_rounds(phantom, rounds):
    fixed, moving = phantom.landmarks_fixed, phantom.landmarks_moving
    assert len(fixed) > 50
    assert np.allclose(phantom.true_map.to_scene(moving), fixed, atol=1e-4)
    for image, view, points in zip(rounds, (phantom.fixed, phantom.moving), (fixed, moving), strict=True):
        smooth = ndi.gaussian_filter(image.astype(np.float32), 1.5)
        here = ndi.map_coordinates(smooth, view.grid.to_index(points).T, order=1)
        assert np.median(here) > np.percentile(smooth, 80)


def test_the_moving_round_is_dimmer_bleached_and_noisy(rounds):
    fixed, moving = (a.astype(float) for a in rounds)
    assert np.percentile(moving, 99) - moving.min() < 0.8 * (np.percentile(fixed, 99) - fixed.min())
    assert np.median(moving[:12]) > np.median(moving[-12:])
    assert np.abs(np.diff(moving, axis=2)).mean() > 5


def test_some_cells_change_between_rounds(phantom):
    fixed, moving = phantom.scene.cells.brightness.T
    assert 0.01 < (fixed == 0).mean() < 0.06
    assert 0.03 < (moving == 0).mean() < 0.10


def test_some_of_the_view_is_empty(phantom):
    grid = phantom.fixed.grid
    index = np.random.default_rng(0).uniform(0, np.array(grid.shape) - 1, (20_000, 3))
    tissue = phantom.scene.tissue(grid.to_physical(index))
    assert 0.6 < tissue.mean() < 0.995
