import numpy as np
import pytest

from teralign.demo import TrueMap
from teralign.demo.truth import STEEPEST, random_map
from teralign.grids import Grid

FIXED = Grid((120, 160, 150), (0.84, 0.92, 0.92))
MOVING = Grid((115, 165, 142), (0.84, 0.92, 0.92))


def points_in(grid, count=5000, seed=0):
    low, high = grid.corners()[0], grid.corners()[-1]
    return np.random.default_rng(seed).uniform(low, high, (count, 3))


@pytest.fixture(scope="module", params=[0, 1, 2, 3])
def true_map(request):
    return random_map(np.random.default_rng(request.param), FIXED, MOVING)


def test_there_and_back(true_map):
    moving = points_in(MOVING)
    assert np.abs(true_map.to_moving(true_map.to_scene(moving)) - moving).max() < 1e-8


def test_is_the_stack_of_its_affine_and_its_bend(true_map):
    fixed = points_in(FIXED)
    bent = true_map.unbend(fixed)
    assert np.abs(bent + true_map.bend(bent) - fixed).max() < 1e-8
    stacked = bent @ true_map.affine[:3, :3].T + true_map.affine[:3, 3]
    assert np.allclose(stacked, true_map.to_moving(fixed), atol=1e-9)


def test_folds_nowhere(true_map):
    slopes = true_map.jacobian(points_in(FIXED, 50_000, seed=7))
    assert np.linalg.det(slopes).min() > 0.2
    assert np.linalg.norm(slopes - np.eye(3), ord=2, axis=(1, 2)).max() < STEEPEST + 0.05


def test_is_smooth_across_knots(true_map):
    start = true_map.origin + 1.5 * true_map.spacing
    line = start + np.linspace(0, 2 * true_map.spacing, 4001)[:, None] * np.ones(3)
    bend = true_map.bend(line)
    assert np.abs(np.diff(bend, n=2, axis=0)).max() < 1e-4


def test_moves_as_far_as_it_says(true_map):
    fixed = points_in(FIXED)
    assert 1.0 < np.linalg.norm(true_map.bend(fixed), axis=1).mean() < 7.0
    shift = np.abs(true_map.affine[:3, :3] @ FIXED.centre + true_map.affine[:3, 3] - MOVING.centre) / FIXED.extent
    assert ((shift > 0.05) & (shift < 0.16)).all()


def test_survives_its_file(true_map, tmp_path):
    true_map.save(tmp_path / "map.npz")
    again = TrueMap.load(tmp_path / "map.npz")
    fixed = points_in(FIXED, 100)
    assert np.array_equal(again.to_moving(fixed), true_map.to_moving(fixed))


def test_identity_moves_nothing():
    fixed = points_in(FIXED, 100)
    assert np.allclose(TrueMap.identity().to_moving(fixed), fixed)
