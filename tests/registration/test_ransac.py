import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phantoms import Scene, affine_about, cube, errors, pair
from teralign.grids import Grid
from teralign.registration import Image
from teralign.registration.blobs import Blobs, find_blobs
from teralign.registration.config import RansacConfig
from teralign.registration.matching import match
from teralign.registration.ransac import fit_maps, ransac
from teralign.registration.steps import StepContext
from teralign.transforms import Affine, Stack

SCENE = Scene.cells()
CENTRE = np.full(3, 80.0)


def spheres(grid, centres, radii):
    points = grid.to_physical(np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), -1))
    array = np.zeros(grid.shape, np.float32)
    for centre, radius in zip(centres, radii, strict=True):
        array += 1000 / (1 + np.exp(4 * (np.linalg.norm(points - centre, axis=-1) - radius)))
    return Image(array, grid)


def test_blobs_lie_where_the_spheres_are_whatever_the_voxels():
    centres = np.array([[20.0, 21.3, 20.7], [40.2, 20.4, 50.1], [30.0, 50.6, 25.2]])
    for grid in (Grid((64, 64, 64), (1.0, 1.0, 1.0)), Grid((32, 60, 40), (2.0, 1.1, 1.6), (0.3, 0.0, 0.2))):
        blobs = find_blobs(spheres(grid, centres, [5, 6, 5]), [4.0, 5.0, 6.3], count=3)
        nearest = np.linalg.norm(blobs.points[:, None] - centres, axis=2)
        assert sorted(nearest.argmin(axis=1)) == [0, 1, 2]
        assert nearest.min(axis=1).max() < 0.35


def test_blobs_are_spread_over_the_image():
    array = np.zeros((40, 40, 120), np.float32)
    rng = np.random.default_rng(0)
    for index in rng.integers(2, 38, (150, 3)):
        array[tuple(index)] = 20000  # a bright, crowded end
    for index in rng.integers(2, 38, (60, 3)):
        array[index[0], index[1], 80 + index[2]] = 6000
    blobs = find_blobs(Image(array, Grid(array.shape, (1, 1, 1))), [2.0, 3.0], count=60)
    assert 12 < (blobs.points[:, 2] > 80).sum() < 48


def test_masked_blobs_do_not_count():
    image = SCENE.draw(cube(48))
    mask = np.zeros(image.array.shape, bool)
    mask[:, 24:] = True
    blobs = find_blobs(Image(image.array, image.grid, mask), [5.0, 7.0], count=500)
    assert len(blobs) > 10
    assert blobs.points[:, 1].min() > 23 * 2.5


def test_matches_are_mutual_clear_and_near():
    contexts = np.eye(6, dtype=np.float32)
    fixed = Blobs(np.arange(18.0).reshape(6, 3), np.ones(6))
    order = np.array([3, 1, 0, 2, 5, 4])
    moving = Blobs(fixed.points[order], np.ones(6))
    pairs = match(contexts, contexts[order], fixed, moving, threshold=0.6, ratio=0.9)
    np.testing.assert_array_equal(order[pairs[:, 1]], pairs[:, 0])
    assert len(pairs) == 6
    twins = np.concatenate([contexts[order], contexts[:1]])  # blob 0 now has two equal matches
    more = Blobs(np.concatenate([moving.points, fixed.points[:1]]), np.ones(7))
    assert 0 not in match(contexts, twins, fixed, more, threshold=0.6, ratio=0.9)[:, 0]
    far = Blobs(moving.points + 10, moving.strengths)
    assert len(match(contexts, contexts[order], fixed, far, threshold=0.6, ratio=0.9, distance=5.0)) < 6
    empty = match(contexts[:0], contexts, fixed.take(np.arange(0)), moving, threshold=0.6, ratio=0.9)
    assert empty.shape == (0, 2)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000))
def test_a_map_is_found_among_outliers(seed):
    rng = np.random.default_rng(seed)
    truth = affine_about(
        CENTRE,
        shift=tuple(rng.uniform(-50, 50, 3)),
        rotation=tuple(rng.uniform(-30, 30, 3)),
        scale=tuple(rng.uniform(0.9, 1.1, 3)),
    )
    p = rng.uniform(0, 160, (120, 3))
    q = truth.map_points(p) + rng.normal(0, 0.5, p.shape)
    q[:72] = rng.uniform(-50, 210, (72, 3))
    fits = fit_maps(p, q, 3.0, model="affine", seed=seed)
    assert fits[0].model == "affine"
    assert fits[0].inliers[72:].mean() > 0.9
    assert errors(Affine(fits[0].matrix).map_points, truth.map_points, cube()).max() < 2.0


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000))
def test_chance_agrees_on_nothing(seed):
    rng = np.random.default_rng(seed)
    assert fit_maps(*rng.uniform(0, 160, (2, 100, 3)), 3.0, seed=seed) == []


def test_simple_models_keep_their_form():
    rng = np.random.default_rng(0)
    p = rng.uniform(0, 160, (60, 3))
    truth = affine_about(CENTRE, rotation=(5, 5, 5), scale=(1.04, 1.04, 1.04))
    q = truth.map_points(p) + rng.normal(0, 0.3, p.shape)
    similarity, rigid = fit_maps(p, q, 5.0, model="similarity")
    assert (similarity.model, rigid.model) == ("similarity", "rigid")
    for fit, scale in ((similarity, 1.04), (rigid, 1.0)):
        linear = fit.matrix[:3, :3]
        np.testing.assert_allclose(linear @ linear.T, scale**2 * np.eye(3), atol=2e-3)


@pytest.mark.parametrize("rotation", [(0, 30, 0), (20, 0, -20)])
def test_large_rotations_are_found(rotation):
    truth = affine_about(CENTRE, shift=(5, -10, 10), rotation=rotation)
    fixed, moving = pair(SCENE, cube(), cube(), truth)
    result = ransac(fixed, moving, RansacConfig(), StepContext(Stack()))
    assert result.transform is not None, result.reason
    assert errors(result.transform.map_points, truth.map_points, fixed.grid).mean() < 1.0


def test_inverted_brightness_is_matched():
    truth = affine_about(CENTRE, shift=(5, -10, 20), rotation=(0, 0, 4))
    fixed, moving = pair(SCENE, cube(), cube(), truth)
    result = ransac(fixed, moving.negative(), RansacConfig(), StepContext(Stack()))
    assert result.transform is not None, result.reason
    assert errors(result.transform.map_points, truth.map_points, fixed.grid).mean() < 1.0


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (RansacConfig(fix_spots_count_threshold=5000), "blobs in the fixed image, 5000 are needed"),
        (RansacConfig(mov_spots_count_threshold=5000), "blobs in the moving image, 5000 are needed"),
        (RansacConfig(point_matches_threshold=5000), "blobs match, 5000 are needed"),
        (RansacConfig(diagonal_constraint=0.01), "off 1, more than diagonal_constraint allows"),
    ],
)
def test_a_threshold_that_is_not_met_keeps_the_start(config, reason):
    truth = affine_about(CENTRE, shift=(0, 3, 3), rotation=(12, 0, 0))
    fixed, moving = pair(SCENE, cube(), cube(), truth)
    result = ransac(fixed, moving, config, StepContext(Stack()))
    assert result.transform is None
    assert result.reason.endswith(reason)


def test_bigstreams_sizes_are_voxels_and_given_spots_are_used():
    truth = affine_about(CENTRE, shift=(0, 6, -4))
    fixed, moving = pair(SCENE, cube(), cube(), truth)
    config = RansacConfig(blob_sizes=(2, 4), cc_radius=8, align_threshold=2.0, num_sigma_max=3)
    found = ransac(fixed, moving, config, StepContext(Stack()))
    assert errors(found.transform.map_points, truth.map_points, fixed.grid).mean() < 0.7
    inside = SCENE.centres[((SCENE.centres > 15) & (SCENE.centres < 145)).all(axis=1)]
    fixed_spots = tuple(tuple(row) for row in fixed.grid.to_index(inside).tolist())
    moving_spots = tuple(tuple(row) for row in moving.grid.to_index(truth.map_points(inside)).tolist())
    given_spots = ransac(
        fixed, moving, RansacConfig(fix_spots=fixed_spots, mov_spots=moving_spots), StepContext(Stack())
    )
    assert errors(given_spots.transform.map_points, truth.map_points, fixed.grid).mean() < 0.05
