"""The estimated error of deformations whose true error is known."""

import functools

import numpy as np
import pytest

from teralign.demo import make_phantom
from teralign.grids import Grid, Region, group_means
from teralign.registration import DeformConfig, Image, align
from teralign.transforms import Affine, DisplacementField, Stack
from teralign.trust import (
    ErrorMap,
    cubes_in,
    cubes_over,
    cubes_shown,
    error_of_piece,
    estimate_errors,
    piece_edge,
    rms,
    typical_piece,
)

SHAPE = (96, 128, 128)  # of the phantom; the images have half of it


@functools.cache
def pair():
    """A phantom at half its resolution, with the affine nearest to its map."""
    phantom = make_phantom(SHAPE, 3)
    images = [
        Image(group_means(view.render(view.grid.region), (2, 2, 2)), view.grid.downsample((2, 2, 2)))
        for view in (phantom.fixed, phantom.moving)
    ]
    points = np.random.default_rng(0).uniform(0.1, 0.9, (2000, 3)) * phantom.fixed.grid.extent
    mapped = phantom.true_map.to_moving(points)
    solution = np.linalg.lstsq(np.c_[points, np.ones(len(points))], mapped, rcond=None)[0]
    return *images, phantom.true_map, Stack((Affine.from_parts(solution[:3].T, solution[3]),))


@functools.cache
def found():
    """What the deformation finds."""
    fixed, moving, _, start = pair()
    nodes = fixed.grid.nodes((4, 4, 4))
    return align(fixed, moving, [DeformConfig()], initial_transform=start, field_grid=nodes).transform


def estimate(transform, *, start=None, fixed=None, threads=1):
    own, moving, _, affine = pair()
    cubes = cubes_over(own.grid)
    return estimate_errors(
        fixed or own,
        moving,
        transform=(start or affine) @ transform,
        config=DeformConfig(),
        cubes=cubes,
        region=cubes.region,
        threads=threads,
    )


def true_error(transform):
    """The root mean square at random points that both images show."""
    fixed, moving, true, start = pair()
    points = np.random.default_rng(1).uniform(0.1, 0.9, (5000, 3)) * fixed.grid.extent
    mapped = true.to_moving(points)
    seen = moving.sample(mapped)[1]
    miss = (start @ transform).map_points(points[seen]) - mapped[seen]
    return float(np.sqrt(np.square(miss).sum(axis=1).mean()))


def test_the_estimate_is_within_a_factor_of_the_true_error():
    transform = found()
    true = true_error(transform)
    assert 0.05 < true < 1.0
    assert true / 1.7 < rms(estimate(transform)) < 1.7 * true


def test_noise_in_both_images_shows_in_the_estimate_as_in_the_error():
    fixed, moving, _, start = pair()
    rng = np.random.default_rng(4)
    noisy = [
        Image(image.array + rng.normal(0, image.array.std(), image.array.shape).astype(np.float32), image.grid)
        for image in (fixed, moving)
    ]
    nodes = fixed.grid.nodes((4, 4, 4))
    transform = align(*noisy, [DeformConfig()], initial_transform=start, field_grid=nodes).transform
    true, cubes = true_error(transform), cubes_over(fixed.grid)
    errors = estimate_errors(
        *noisy, transform=start @ transform, config=DeformConfig(), cubes=cubes, region=cubes.region
    )
    assert true > 1.2 * true_error(found())
    assert true / 1.7 < rms(errors) < 1.7 * true


def test_the_error_of_a_map_whose_steps_are_not_known_is_told_from_a_piece():
    fixed, moving, _, start = pair()
    piece = typical_piece(fixed, cubes_over(fixed.grid), edge=piece_edge(fixed.grid))
    assert piece.intersect(fixed.grid.region) == piece
    assert max(piece.shape) == 48
    true = true_error(found())
    assert true / 2 < error_of_piece(fixed, moving, piece, start @ found()) < 2 * true
    assert error_of_piece(fixed, moving, piece, start) > 2 * true


def test_a_typical_piece_shows_neither_the_most_nor_nothing():
    array = np.zeros((20, 40, 400), np.float32)
    array[:, :, 200:] = np.random.default_rng(0).uniform(0.5, 1.5, (20, 40, 200))
    array[:, :, 390:] *= 3
    grid = Grid(array.shape, (1.0, 1.0, 1.0))
    mask = np.ones(array.shape, bool)
    for image in (Image(array, grid), Image(array, grid, mask)):
        piece = typical_piece(image, cubes_over(grid), edge=24)
        assert piece.shape == (20, 24, 24)
        assert 190 < piece.start[2] < 370
    mask[:, :, :300] = False
    assert typical_piece(Image(array, grid, mask), cubes_over(grid), edge=24).start[2] > 280


def test_the_estimate_holds_where_a_block_starts_from_a_field_and_moves_no_further():
    transform = found()
    true = true_error(transform)
    assert true / 2 < rms(estimate(Stack(), start=pair()[3] @ transform)) < 2 * true


def test_a_worse_deformation_has_a_larger_estimate_close_to_its_true_error():
    transform = found()
    field = transform.transforms[0]
    z = np.linspace(0, 3 * np.pi, field.values.shape[0])[:, None, None]
    spoiled = field.values.copy()
    spoiled[..., 2] += 2.5 * np.sin(z)
    worse = Stack((DisplacementField(spoiled, field.grid),))
    assert true_error(worse) > 1.2
    assert 0.5 * true_error(worse) < rms(estimate(worse)) < 3 * true_error(worse)
    assert rms(estimate(worse)) > 3 * rms(estimate(transform))


def test_the_cube_with_the_error_has_the_largest_estimate():
    transform = found()
    field = transform.transforms[0]
    nodes = np.stack(np.meshgrid(*[np.arange(n) for n in field.values.shape[:3]], indexing="ij"), axis=-1)
    corner = (nodes < 6).all(axis=-1)
    spoiled = np.where(corner[..., None], field.values + np.float32(2.5), field.values)
    errors = estimate(Stack((DisplacementField(spoiled, field.grid),)))
    assert np.unravel_index(np.nanargmax(errors), errors.shape) == (0, 0, 0)


def test_estimates_do_not_depend_on_threads():
    transform = found()
    first, *others = (estimate(transform, threads=n).tobytes() for n in (1, 2, 3))
    assert others == [first] * 2


def test_nothing_is_told_where_a_mask_leaves_nothing_or_the_image_is_empty():
    transform = found()
    own = pair()[0]
    mask = np.ones(own.array.shape, bool)
    mask[:, :, :36] = False
    errors = estimate(transform, fixed=Image(own.array, own.grid, mask))
    assert np.isnan(errors[:, :, 0]).all()
    assert np.isfinite(errors[:, :, 1]).any()
    assert np.isnan(estimate(transform, fixed=Image(np.zeros_like(own.array), own.grid))).all()


@pytest.mark.parametrize("shape", [(64, 80, 96), (70, 33, 15), (1, 200, 7)])
def test_cores_that_tile_the_grid_share_out_all_cubes(shape):
    grid = Grid(shape, (1.7, 1.0, 1.0))
    cubes = cubes_over(grid)
    owners = np.zeros(cubes.shape, int)
    for core in Region.whole(shape).split((24, 40, 17)):
        owners[cubes_in(grid, core).slices] += 1
    assert (owners == 1).all()
    low, high = cubes.corners()[0] - np.array(cubes.spacing) / 2, cubes.corners()[-1] + np.array(cubes.spacing) / 2
    assert (low <= grid.corners()[0]).all()
    assert (high >= grid.corners()[-1]).all()


def test_a_map_of_errors_is_summed_up_without_its_unknown_cubes():
    values = np.full((2, 3, 4), 0.5, np.float32)
    values[0, 0, 0], values[1] = np.nan, 2.0
    errors = ErrorMap(values, Grid((2, 3, 4), (10.0, 10.0, 10.0), (5.0, 5.0, 5.0)), 0.1)
    estimate = errors.estimate()
    assert (estimate.median, estimate.p95, estimate.floor) == (2.0, 2.0, 0.1)
    assert errors.within((0.0, 0.0, 0.0), (10.0, 10.0, 10.0)) is None
    assert errors.within((0.0, 10.0, 0.0), (20.0, 10.0, 10.0)) == pytest.approx(np.sqrt((0.25 + 4) / 2), abs=1e-4)
    assert ErrorMap(np.full((1, 1, 1), np.nan, np.float32), Grid((1, 1, 1), (1, 1, 1)), 0.1).estimate() is None


def test_the_cubes_in_which_an_error_can_be_told_are_those_of_a_measurement():
    fixed, moving, _, start = pair()
    mask = np.ones(fixed.array.shape, bool)
    mask[:, :30] = False
    seen, cubes = Image(fixed.array, fixed.grid, mask), cubes_over(fixed.grid)
    measured = np.isfinite(estimate(found(), fixed=seen))
    shown = cubes_shown(seen, moving, transform=start @ found(), cubes=cubes, region=cubes.region)
    np.testing.assert_array_equal(shown, measured)
    assert 0 < shown.mean() < 1


def test_values_that_stand_for_many_cubes_have_a_longer_tail():
    values, grid = np.full((4, 4, 4), 0.5, np.float32), Grid((4, 4, 4), (10.0, 10.0, 10.0))
    plain, spread = (ErrorMap(values, grid, 0.1, scatter).estimate() for scatter in (0.0, 0.3))
    assert (plain.median, plain.p95) == (spread.median, 0.5)
    assert 1.4 < spread.p95 / plain.p95 < 1.6
