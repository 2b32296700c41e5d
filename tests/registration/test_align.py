import logging

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from phantoms import Scene, affine_about, cube, errors, pair
from teralign.grids import Grid
from teralign.registration import Image, align
from teralign.registration.config import AffineConfig, RandomConfig, RansacConfig, RigidConfig
from teralign.transforms import Affine, DisplacementField, Stack

SCENE = Scene.cells()
CENTRE = np.full(3, 80.0)


def worst(found, truth, grid):
    return float(np.percentile(errors(found.map_points, truth.map_points, grid), 95))


@pytest.fixture(scope="module")
def shifted():
    """Translated by a fifth of the field of view, turned by 10°, scaled by 5 %."""
    truth = affine_about(CENTRE, shift=(-10, 32, 15), rotation=(10, 0, 0), scale=(1, 1.05, 1.05))
    return *pair(SCENE, cube(), cube(), truth), truth


@pytest.fixture(scope="module")
def near():
    """A small affine map, and anisotropic voxels that differ between the images."""
    truth = affine_about(CENTRE, shift=(2, -3, 4), rotation=(2, -3, 1), scale=(1.02, 0.98, 1.01))
    fixed_grid, moving_grid = (
        Grid((40, 64, 64), (4.0, 2.5, 2.5)),
        Grid((64, 50, 50), (2.5, 3.2, 3.2), (1.0, 2.0, 0.0)),
    )
    return *pair(SCENE, fixed_grid, moving_grid, truth), truth


@pytest.mark.parametrize("steps", [[RansacConfig()], [RansacConfig(), AffineConfig()]], ids=["ransac", "then affine"])
def test_a_large_map_is_found(shifted, steps):
    fixed, moving, truth = shifted
    found = align(fixed, moving, steps, initial_transform=Stack())
    assert found.reports[0].state == "improved"
    assert worst(found.transform, truth, fixed.grid) < 1.0  # µm; a voxel is 2.5


@pytest.mark.parametrize(
    "step", [RansacConfig(), AffineConfig(), AffineConfig(metric="C")], ids=["ransac", "MMI", "C"]
)
def test_voxels_of_other_sizes_and_origins(near, step):
    fixed, moving, truth = near
    found = align(fixed, moving, [step], initial_transform=Stack())
    assert found.reports[0].state == "improved", found.reports[0].reason
    assert worst(found.transform, truth, fixed.grid) < 1.0


def test_rigid_finds_a_rotation_and_a_far_shift():
    truth = affine_about(CENTRE, shift=(0, 30, -12), rotation=(0, 5, 0))
    fixed, moving = pair(SCENE, cube(), cube(), truth)
    found = align(fixed, moving, [RigidConfig()], initial_transform=Stack())
    assert worst(found.transform, truth, fixed.grid) < 0.5
    linear = found.transform.affine.matrix[:3, :3]
    np.testing.assert_allclose(linear @ linear.T, np.eye(3), atol=1e-9)


def test_a_step_goes_on_from_the_start_and_returns_only_what_it_added(near):
    fixed, moving, truth = near
    start = Stack((truth @ affine_about(CENTRE, shift=(3, 3, -3), rotation=(0, 0, 2)),))
    found = align(fixed, moving, [AffineConfig()], initial_transform=start)
    whole = start @ found.transform
    assert worst(whole, truth, fixed.grid) < 1.0
    assert worst(found.transform, Affine.identity(), fixed.grid) < 12


def test_a_step_goes_on_from_a_displacement_field(near):
    fixed, moving, truth = near
    grid = fixed.grid.nodes((8, 8, 8))
    field = DisplacementField(np.full((*grid.shape, 3), 3.0, np.float32), grid)
    start = Stack((truth, field))
    found = align(fixed, moving, [AffineConfig()], initial_transform=start)
    assert worst(start @ found.transform, truth, fixed.grid) < 1.0


def test_the_true_map_is_hardly_moved(near):
    fixed, moving, truth = near
    start = Stack((truth,))
    found = align(fixed, moving, [RansacConfig(), RigidConfig(), AffineConfig()], initial_transform=start)
    assert worst(start @ found.transform, truth, fixed.grid) < 0.8


def test_inverted_brightness_is_aligned_by_mutual_information(near):
    fixed, moving, truth = near
    inverted = Image(np.uint16(2000) - np.minimum(moving.array, 2000), moving.grid)
    found = align(fixed, inverted, [AffineConfig()], initial_transform=Stack())
    assert worst(found.transform, truth, fixed.grid) < 1.0


def test_what_a_mask_leaves_out_does_not_count(near):
    fixed, moving, truth = near
    spoiled = moving.array.copy()
    spoiled[40:] = 5000
    spoiled[40:, ::7] = 0
    mask = np.ones(moving.array.shape, bool)
    mask[38:] = False
    found = align(
        fixed, Image(spoiled, moving.grid, mask), [RansacConfig(), AffineConfig()], initial_transform=Stack()
    )
    assert worst(found.transform, truth, fixed.grid) < 1.5


def test_random_search_brings_the_images_nearer(near):
    fixed, moving, truth = near
    config = RandomConfig(random_iterations=300, max_translation=8.0, max_rotation_degrees=6.0)
    found = align(fixed, moving, [config], initial_transform=Stack())
    report = found.reports[0]
    assert report.metric_after > report.metric_before
    assert worst(found.transform, truth, fixed.grid) < worst(Affine.identity(), truth, fixed.grid)


@pytest.mark.parametrize("step", [RansacConfig(), RandomConfig(random_iterations=20), RigidConfig(), AffineConfig()])
@pytest.mark.parametrize("content", ["noise", "flat", "outside", "masked"])
def test_a_step_with_nothing_to_go_on_keeps_its_start(step, content):
    rng = np.random.default_rng(0)
    grid = cube(32)
    fixed = SCENE.draw(grid)
    if content == "noise":
        moving = Image(rng.integers(0, 100, grid.shape).astype(np.uint16), grid)
        fixed = Image(rng.integers(0, 100, grid.shape).astype(np.uint16), grid)
    elif content == "flat":
        moving = Image(np.full(grid.shape, 7, np.uint16), grid)
    elif content == "outside":
        moving = Image(Scene.cells(seed=5).draw(grid).array, Grid(grid.shape, grid.spacing, (1e4, 1e4, 1e4)))
    else:
        moving = Image(fixed.array, grid, np.zeros(grid.shape, bool))
    start = Stack((affine_about(CENTRE, shift=(1, 2, 3)),))
    found = align(fixed, moving, [step], initial_transform=start)
    report = found.reports[0]
    if report.state == "improved":  # noise can always be fitted a little better
        assert content == "noise"
        assert report.metric_after > report.metric_before
    else:
        assert found.transform.transforms == ()
        assert report.reason


def test_nan_voxels_do_not_count(near):
    fixed, moving, truth = near
    holed = fixed.array.astype(np.float32)
    holed[:4, :, 20:30] = np.nan
    found = align(Image(holed, fixed.grid), moving, [RansacConfig(), AffineConfig()], initial_transform=Stack())
    assert worst(found.transform, truth, fixed.grid) < 1.0


@pytest.mark.parametrize("step", [RansacConfig(), RandomConfig(random_iterations=50), AffineConfig()])
def test_one_seed_gives_one_result_whatever_the_threads(near, step):
    fixed, moving, _ = near
    once, again, threaded = (
        align(fixed, moving, [step], initial_transform=Stack(), seed=3, threads=threads).transform.map_points(
            fixed.grid.corners()
        )
        for threads in (1, 1, 2)
    )
    np.testing.assert_array_equal(once, again)
    np.testing.assert_allclose(once, threaded, atol=1e-5)


def test_linear_algebra_takes_no_cores_of_its_own(near):
    """Seen from a log line in the midst of an alignment."""
    fixed, moving, _ = near
    seen = []

    class Look(logging.Handler):
        def emit(self, record):
            seen.extend(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")

    log, look = logging.getLogger("teralign.registration.align"), Look(logging.INFO)
    log.addHandler(look)
    log.setLevel(logging.INFO)
    try:
        align(fixed, moving, [RigidConfig(shrink_factors=(4,))], initial_transform=Stack(), threads=2)
    finally:
        log.removeHandler(look)
    assert seen
    assert set(seen) == {1}


def test_steps_may_repeat_and_each_is_reported(near):
    fixed, moving, _ = near
    steps = [RigidConfig(), AffineConfig(shrink_factors=(2,)), AffineConfig()]
    found = align(fixed, moving, steps, initial_transform=Stack())
    assert [r.name for r in found.reports] == ["rigid", "affine", "affine"]
    assert len(found.transform.transforms) == 1
