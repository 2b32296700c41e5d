"""The deformable engine on images whose true deformation is known."""

import itertools
import threading

import numpy as np
import pytest
from scipy import ndimage

from teralign.grids import Grid
from teralign.registration import DeformConfig, Image
from teralign.registration import deform_kernels as kernels
from teralign.registration.deform_engine import find_deformation
from teralign.registration.deform_lattice import Lattice, remove_folds, solve
from teralign.transforms import DisplacementField, folding
from teralign.transforms.threads import ThreadPool

SPACING = (1.5, 1.0, 1.0)


def texture(points, *, seed=0, waves=160):
    """A cloud of plane waves of 6 to 20 µm, sharp at any point."""
    rng = np.random.default_rng(seed)
    directions = rng.normal(size=(waves, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    k = directions * 2 * np.pi / rng.uniform(6, 20, (waves, 1))
    phase = rng.uniform(0, 2 * np.pi, waves)
    total = np.zeros(points.shape[:-1])
    for direction, p in zip(k, phase, strict=True):
        total += np.cos(points @ direction + p)
    return total.astype(np.float32)


def positions(grid):
    return np.stack(np.meshgrid(*[grid.origin[d] + np.arange(grid.shape[d]) * grid.spacing[d] for d in range(3)],
                                indexing="ij"), axis=-1)  # fmt: skip


def bend(points):
    """A smooth displacement of up to about 3 µm."""
    z, y, x = np.moveaxis(points, -1, 0)
    return np.stack(
        [1.5 * np.sin(2 * np.pi * y / 80), 2.0 * np.sin(2 * np.pi * x / 90 + 1), 2.0 * np.cos(2 * np.pi * z / 85)], -1
    )


def undo(points, *, rounds=40):
    """The points x with x + bend(x) = points."""
    x = points.copy()
    for _ in range(rounds):
        x = points - bend(x)
    return x


@pytest.fixture(scope="module")
def pair():
    """Fixed and moving with fixed(x) = moving(x + bend(x)), noise, and a shading on the moving one."""
    fixed_grid, moving_grid = (
        Grid((36, 52, 60), SPACING, (3.0, -2.0, 5.0)),
        Grid((38, 56, 64), SPACING, (1.0, -4.0, 3.0)),
    )
    rng = np.random.default_rng(1)
    fixed = texture(positions(fixed_grid)) * 40 + 1500
    moving = texture(undo(positions(moving_grid))) * 40 + 1500
    moving *= np.linspace(1.0, 0.4, moving.shape[0], dtype=np.float32)[:, None, None]
    noisy = [np.rint(a + rng.normal(0, 8, a.shape)).clip(0).astype(np.uint16) for a in (fixed, moving)]
    return noisy[0], fixed_grid, noisy[1], moving_grid


def run(pair, config=None, *, initial=None, fixed_mask=None, moving_mask=None, **arguments):
    fixed, fixed_grid, moving, moving_grid = pair
    return find_deformation(
        Image(fixed, fixed_grid, fixed_mask),
        Image(moving, moving_grid, moving_mask),
        config or DeformConfig(),
        initial=np.eye(4) if initial is None else initial,
        **arguments,
    )


def error(result, margin=2):
    inner = (slice(margin, -margin),) * 3
    return np.linalg.norm(result.field - bend(positions(result.grid)), axis=-1)[inner]


def test_finds_a_known_deformation_to_a_tenth_of_a_voxel(pair):
    result = run(pair)
    assert result.reason == ""
    assert result.metric_after > result.metric_before + 0.1
    assert error(result).mean() < 0.1
    assert np.percentile(error(result), 95) < 0.3


def test_an_affine_start_comes_after_the_displacement(pair):
    fixed, fixed_grid, _, _ = pair
    turn = np.eye(4)
    turn[:3, :3] = [[1, 0.02, 0], [-0.02, 1, 0.03], [0, -0.03, 1]]
    turn[:3, 3] = [4, -3, 2]
    seen = Grid((52, 72, 80), SPACING, (-6.0, -12.0, -6.0))
    back = (positions(seen) - turn[:3, 3]) @ np.linalg.inv(turn[:3, :3]).T
    moved = texture(undo(back)) * 40 + 1500
    assert error(run((fixed, fixed_grid, moved, seen), initial=turn)).mean() < 0.12


@pytest.mark.parametrize("metric", ["LNCC", "MMI"])
def test_same_bytes_on_a_rerun_and_for_any_number_of_threads(pair, metric):
    config = DeformConfig(metric=metric)
    first, *others = (run(pair, threads=n, config=config).field.tobytes() for n in (1, 1, 2, 4))
    assert others == [first] * 3


def test_no_more_threads_than_given_take_part():
    seen = set()
    with ThreadPool(2) as pool:
        pool.run(lambda first, last: seen.add(threading.get_ident()), 64)
    assert 1 <= len(seen) <= 2


def test_images_that_fit_already_end_the_search_early(pair):
    fixed, grid, _, _ = pair
    result = run((fixed, grid, fixed, grid))
    assert sum(result.iterations) < sum(iterations for _, iterations in DeformConfig().levels)
    assert np.abs(result.field).max() < 0.05


@pytest.mark.parametrize("metric", ["LNCC", "C"])
def test_inverted_brightness_is_recognised(pair, metric):
    fixed, fixed_grid, moving, moving_grid = pair
    dark = (4000 - moving.astype(np.int32)).astype(np.uint16)
    even = np.rint(2000 - texture(undo(positions(moving_grid))) * 40).astype(np.uint16)
    result = run((fixed, fixed_grid, {"LNCC": dark, "C": even}[metric], moving_grid),
                 config=DeformConfig(metric=metric))  # fmt: skip
    assert result.metric_after > result.metric_before > 0
    assert error(result).mean() < 0.15


@pytest.mark.parametrize("folded", ["fixed", "moving"])
def test_mutual_information_needs_no_monotonic_relation_of_brightness(pair, folded):
    """One image is bright wherever the other is dark or bright, and dark between."""
    _, fixed_grid, _, moving_grid = pair
    fixed, moving = texture(positions(fixed_grid)), texture(undo(positions(moving_grid)))
    fixed, moving = (np.abs(a) if name == folded else a for name, a in (("fixed", fixed), ("moving", moving)))
    result = run((fixed, fixed_grid, moving, moving_grid), config=DeformConfig(metric="MMI"))
    assert result.metric_after > result.metric_before
    assert error(result).mean() < 0.1


def test_the_smoothness_follows_from_the_images(pair):
    """Fine waves are followed although the usual smoothness suppresses them; noise is not."""
    _, fixed_grid, _, moving_grid = pair

    def ripple(points):
        return np.stack(
            [np.zeros(points.shape[:-1]), 1.2 * np.sin(2 * np.pi * points[..., 2] / 20), points[..., 0] * 0], -1
        )

    points = positions(moving_grid)
    source = points - ripple(points)  # y moves by what x says, so this is the inverse
    images = texture(positions(fixed_grid)), fixed_grid, texture(source), moving_grid
    usual = DeformConfig(smoothness=2.0 * np.prod(SPACING) ** (1 / 3))
    free, bound = (
        np.linalg.norm(r.field - ripple(positions(r.grid)), axis=-1).mean()
        for r in (run(images), run(images, config=usual))
    )
    assert free < 0.8 * bound


@pytest.mark.parametrize("metric", ["C", "MS"])
def test_global_metrics_find_it_too_under_even_light(metric, pair):
    fixed, fixed_grid, _, moving_grid = pair
    moving = texture(undo(positions(moving_grid))) * 40 + 1500
    result = run((fixed, fixed_grid, moving, moving_grid), config=DeformConfig(metric=metric))
    assert result.metric_after > result.metric_before
    assert error(result).mean() < 0.15


def test_masked_voxels_do_not_pull(pair):
    fixed, fixed_grid, moving, moving_grid = pair
    spoilt = moving.copy()
    spoilt[:, 20:40, 20:40] = np.random.default_rng(5).integers(0, 2000, spoilt[:, 20:40, 20:40].shape)
    mask = np.ones(moving.shape, bool)
    mask[:, 20:40, 20:40] = False
    masked = run((fixed, fixed_grid, spoilt, moving_grid), moving_mask=mask)
    outside = np.ones(masked.grid.shape, bool)
    outside[:, 7:22, 7:22] = False
    inner = (slice(2, -2),) * 3
    assert error(masked)[outside[inner]].mean() < 0.2


def test_a_mask_of_everything_changes_nothing(pair):
    fixed, _, moving, _ = pair
    whole = run(pair, fixed_mask=np.ones(fixed.shape, bool), moving_mask=np.ones(moving.shape, bool))
    assert np.abs(whole.field - run(pair).field).max() < 1e-3


@pytest.mark.parametrize("which", ["fixed", "moving"])
def test_a_constant_image_gives_a_zero_field_with_a_reason(which, pair):
    fixed, fixed_grid, moving, moving_grid = pair
    flat = np.full_like(fixed if which == "fixed" else moving, 7)
    images = (flat, fixed_grid, moving, moving_grid) if which == "fixed" else (fixed, fixed_grid, flat, moving_grid)
    result = run(images)
    assert which in result.reason
    assert not result.field.any()


def test_no_overlap_gives_a_zero_field_with_a_reason(pair):
    away = np.eye(4)
    away[0, 3] = 1e4
    result = run(pair, initial=away)
    assert "reach" in result.reason
    assert not result.field.any()


def test_unrelated_images_never_come_out_worse(pair):
    fixed, fixed_grid, _, moving_grid = pair
    noise = np.random.default_rng(3).normal(size=moving_grid.shape).astype(np.float32)
    result = run((fixed, fixed_grid, noise, moving_grid))
    assert result.reason or result.metric_after > result.metric_before
    assert result.min_jacobian >= DeformConfig().min_jacobian


def test_a_part_without_moving_image_follows_its_surroundings(pair):
    fixed, fixed_grid, moving, moving_grid = pair
    cut = Grid((*moving_grid.shape[:2], 40), moving_grid.spacing, moving_grid.origin)
    result = run((fixed, fixed_grid, moving[:, :, :40], cut))
    assert np.abs(result.field).max() < 6
    assert error(result)[:, :, :14].mean() < 0.15


def test_thin_and_small_blocks_work():
    for shape in itertools.product((3, 9), (17,), (24,)):
        grid = Grid(shape, (2.0, 1.0, 1.0))
        image = texture(positions(grid))
        result = run((image, grid, image, grid))
        assert np.isfinite(result.field).all()
        assert np.abs(result.field).max() < 1


def test_the_field_lies_on_the_nodes_that_were_asked_for(pair):
    nodes = Grid((10, 12, 14), (5.0, 5.0, 5.0), (0.0, -5.0, 0.0))
    result = run(pair, field_grid=nodes)
    assert result.field.shape == (10, 12, 14, 3)
    assert result.field.dtype == np.float32
    assert result.grid == nodes


def test_smoothness_bounds_how_much_neighbours_differ(pair):
    rough, smooth = (
        np.abs(np.diff(run(pair, config=DeformConfig(smoothness=s)).field, 2, axis=1)).mean() for s in (2.0, 12.0)
    )
    assert smooth < rough / 2


def test_refitting_a_spline_keeps_its_shape():
    grid = Grid((40, 48, 56), SPACING)
    coarse, fine = Lattice(grid, (8, 8, 8)), Lattice(grid, (4, 5, 6))
    c = np.random.default_rng(0).normal(size=(3, *coarse.points.shape)).astype(np.float32)
    with ThreadPool(1) as pool:
        once, again = coarse.sample(c, grid, pool), fine.sample(fine.refit(c, coarse, pool), grid, pool)
    assert np.abs(once - again).mean() < 0.02


def test_an_affine_displacement_does_not_bend():
    lattice = Lattice(Grid((24, 28, 32), SPACING), (4, 4, 4))
    linear = positions(lattice.points) @ np.random.default_rng(0).normal(size=(3, 3))
    c = np.ascontiguousarray(np.moveaxis(linear, -1, 0)).astype(np.float32)
    cells = lattice.cells
    stiffness = np.zeros((6, *cells), np.float32)
    stiffness[:3] = 1
    with ThreadPool(1) as pool:
        delta = solve(np.zeros_like(c), stiffness, c, scale=np.full(3, 4.0), iterations=30, pool=pool)
    assert np.abs(delta).max() < 1e-3 * np.abs(c).max()


def test_folds_are_removed():
    grid = Grid((32, 32, 32), (1.0, 1.0, 1.0))
    lattice = Lattice(grid, (4, 4, 4))
    c = lattice.zeros()
    c[:, 5, 5, 5] = 9
    with ThreadPool(1) as pool:
        assert folding(DisplacementField(lattice.sample(c, grid, pool), grid)).min_jacobian < 0
        smoothed, field, smallest = remove_folds(lattice, c, grid, min_jacobian=0.2, pool=pool)
    assert folding(DisplacementField(field, grid)).min_jacobian >= 0.2
    assert smallest >= 0.2
    assert np.abs(smoothed).max() > 0.1


@pytest.mark.parametrize("radius", [(0, 0, 0), (1, 2, 3), (9, 9, 9)])
def test_window_sums_match_plain_sums(radius):
    values = np.random.default_rng(0).normal(size=(2, 5, 6, 7)).astype(np.float32)
    out = np.empty_like(values)
    kernels.window_sums(0, 2, values, np.array(radius), out)
    size = [2 * r + 1 for r in radius]
    for plane in range(2):
        plain = ndimage.uniform_filter(values[plane].astype(float), size, mode="constant") * np.prod(size)
        np.testing.assert_allclose(out[plane], plain, atol=1e-4)


def test_control_points_may_lie_further_apart_than_the_image_is_wide():
    grid = Grid((24, 40, 40), SPACING)
    fixed, moving = (Image(texture(positions(grid) - shift), grid) for shift in (0, (0.5, -1.0, 1.0)))
    found = find_deformation(fixed, moving, DeformConfig(control_point_spacing=120.0), initial=np.eye(4))
    assert found.metric_after > found.metric_before
    assert np.abs(found.field - (0.5, -1.0, 1.0)).max() < 0.5  # µm; a voxel is 1
