import itertools

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from hypothesis import given, settings
from hypothesis import strategies as st
from random_maps import positions, random_affine, random_grid, random_region, random_stack, smooth_field
from scipy import ndimage

from teralign.grids import Grid, Region
from teralign.transforms import Affine, DisplacementField, Stack, cast, needed_region, warp

SEEDS = st.integers(0, 2**32 - 1)
INTERPOLATIONS = ("linear", "nearest", "cubic")
DTYPES = ("u1", "i1", "u2", ">u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", ">f4", "f8", "?")


def shift(*um):
    return Stack((Affine.from_parts(np.eye(3), um),))


def catmull_rom(image, index):
    """The textbook sum over 64 voxels, clamped at the faces."""
    base = np.floor(index).astype(int)
    t = index - base
    weights = np.stack(
        [
            (-(t**3) + 2 * t**2 - t) / 2,
            (3 * t**3 - 5 * t**2 + 2) / 2,
            (-3 * t**3 + 4 * t**2 + t) / 2,
            (t**3 - t**2) / 2,
        ]
    )
    total = np.zeros(len(index))
    for taps in itertools.product(range(4), repeat=3):
        at = np.clip(base + np.array(taps) - 1, 0, np.array(image.shape) - 1)
        total += np.prod([weights[k, :, d] for d, k in enumerate(taps)], axis=0) * image[tuple(at.T)]
    return total


def reference(image, index, interpolation):
    """What `image` shows at fractional voxel indices, by scipy or by the textbook; 0 outside."""
    if interpolation == "linear":
        values = ndimage.map_coordinates(image.astype(float), index.T, order=1, mode="nearest")
    elif interpolation == "nearest":
        values = image[tuple(np.clip(np.floor(index + 0.5).astype(int), 0, np.array(image.shape) - 1).T)].astype(
            float
        )
    else:
        values = catmull_rom(image.astype(float), index)
    inside = ((index >= -0.5) & (index <= np.array(image.shape) - 0.5)).all(axis=1)
    return np.where(inside, values, 0)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("kinds", ["", "a", "af", "f", "fa", "afaf", "aff"])
def test_values_are_those_of_a_slow_reference(kinds, interpolation):
    rng = np.random.default_rng(len(kinds))
    grid, moving_grid = random_grid(rng, 12, 20), random_grid(rng, 12, 20)
    moving_grid = Grid(moving_grid.shape, moving_grid.spacing, grid.to_physical([1.3, -1.1, 0.7]))
    image = rng.uniform(-1000, 1000, moving_grid.shape)
    stack = random_stack(rng, grid, kinds)
    warped = warp(image, moving_grid, grid=grid, region=grid.region, transform=stack, interpolation=interpolation)
    index = moving_grid.to_index(stack.map_points(positions(grid)))
    assert (warped != 0).mean() > 0.1
    np.testing.assert_allclose(warped.ravel(), reference(image, index, interpolation), atol=1e-6)


def test_a_linear_warp_is_that_of_simpleitk():
    rng = np.random.default_rng(0)
    grid = Grid((20, 22, 24), (2.0, 1.5, 1.0), (5.0, 6.0, 7.0))
    moving_grid = Grid((23, 20, 25), (1.7, 1.6, 1.1), (4.0, 3.0, 8.0))
    image = rng.normal(size=moving_grid.shape).astype(np.float32)
    affine, field = random_affine(rng, 0.05, 1.0), smooth_field(rng, grid.nodes((3, 3, 3)))
    vectors = sitk.GetImageFromArray(field.values[..., ::-1].astype(np.float64), isVector=True)
    theirs = sitk.GetImageFromArray(image)
    for its_image, its_grid in ((vectors, field.grid), (theirs, moving_grid)):
        its_image.SetSpacing(its_grid.spacing[::-1])
        its_image.SetOrigin(its_grid.origin[::-1])
    linear = sitk.AffineTransform(3)
    linear.SetMatrix(affine.matrix[:3, :3][::-1, ::-1].ravel().tolist())
    linear.SetTranslation(affine.matrix[:3, 3][::-1].tolist())
    both = sitk.CompositeTransform([linear, sitk.DisplacementFieldTransform(vectors)])
    expected = sitk.GetArrayFromImage(
        sitk.Resample(theirs, grid.shape[::-1], both, sitk.sitkLinear, grid.origin[::-1], grid.spacing[::-1])
    )
    found = warp(image, moving_grid, grid=grid, region=grid.region, transform=Stack((affine, field)))
    index = moving_grid.to_index(Stack((affine, field)).map_points(positions(grid))).reshape(*grid.shape, 3)
    inner = ((index > 0) & (index < np.array(moving_grid.shape) - 1)).all(axis=-1)
    assert inner.mean() > 0.4
    np.testing.assert_allclose(found[inner], expected[inner], atol=1e-5)


@settings(max_examples=150, deadline=None)
@given(SEEDS, st.text("af", max_size=3), st.sampled_from(INTERPOLATIONS), st.integers(1, 3))
def test_every_cut_gives_the_same_bits(seed, kinds, interpolation, threads):
    rng = np.random.default_rng(seed)
    grid, moving_grid = random_grid(rng), random_grid(rng)
    stack = random_stack(rng, grid, kinds)
    image = rng.integers(0, 60_000, moving_grid.shape).astype(np.uint16)
    whole = warp(image, moving_grid, grid=grid, region=grid.region, transform=stack, interpolation=interpolation)
    for region in (random_region(rng, grid), *grid.region.split((7, 9, 11))):
        needed = needed_region(stack, grid, region, moving_grid, interpolation)
        part = warp(
            image[needed.slices],
            moving_grid,
            grid=grid,
            region=region,
            transform=stack,
            moving_region=needed,
            interpolation=interpolation,
            threads=threads,
        )
        assert np.array_equal(part, whole[region.slices])


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_identity_returns_every_type_as_it_was(dtype, interpolation):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 100, (3, 4, 5)).astype(dtype)
    grid = Grid(image.shape, (2.0, 0.7, 1.1), (3.0, 4.0, 5.0))
    found = warp(image, grid, grid=grid, region=grid.region, transform=Stack(), interpolation=interpolation)
    assert found.dtype == image.dtype.newbyteorder("=")
    assert np.array_equal(found, image)


@pytest.mark.parametrize("dtype", ["u8", "i8"])
def test_labels_keep_their_ids(dtype):
    ids = np.array([np.iinfo(dtype).max, 2**53 + 1, 2**62 + 7, 1], dtype)
    labels = np.random.default_rng(0).choice(ids, (8, 9, 10))
    grid = Grid(labels.shape, (1, 1, 1))
    found = warp(labels, grid, grid=grid, region=grid.region, transform=shift(0, 1.2, 0), interpolation="nearest")
    assert np.array_equal(found[:, :-1], labels[:, 1:])


def test_cubic_overshoot_is_saturated_and_values_are_rounded():
    image = np.zeros((1, 1, 8), np.uint8)
    image[..., 4:] = 255
    grid = Grid(image.shape, (1, 1, 1))
    kwargs = {"grid": grid, "region": grid.region, "transform": shift(0, 0, 0.5)}
    assert warp(image, grid, interpolation="cubic", **kwargs).tolist() == [[[0, 0, 0, 128, 255, 255, 255, 255]]]
    assert warp(image, grid, **kwargs).tolist() == [[[0, 0, 0, 128, 255, 255, 255, 255]]]
    floats = warp(image.astype(np.float32), grid, interpolation="cubic", **kwargs)
    assert floats.min() < -10
    assert floats.max() > 265


def test_the_rim_is_half_a_voxel_wide_and_then_comes_the_fill():
    image = np.full((4, 4, 4), 7, np.int16)
    grid = Grid(image.shape, (2.0, 2.0, 2.0))
    for interpolation in INTERPOLATIONS:
        for um, outside in ((0.99, 0), (1.01, 1)):
            for sign in (1, -1):
                found = warp(
                    image,
                    grid,
                    grid=grid,
                    region=grid.region,
                    transform=shift(0, sign * um, 0),
                    interpolation=interpolation,
                    fill=-5,
                )
                assert (found == -5).sum() == 16 * outside
                assert (found == 7).sum() == 64 - 16 * outside


def test_channels_are_warped_as_if_alone():
    rng = np.random.default_rng(0)
    grid = random_grid(rng)
    images = rng.integers(0, 255, (3, *grid.shape)).astype(np.uint8)
    stack = random_stack(rng, grid, "af")
    together = warp(list(images), grid, grid=grid, region=grid.region, transform=stack)
    for one, image in zip(together, images, strict=True):
        assert np.array_equal(one, warp(image, grid, grid=grid, region=grid.region, transform=stack))


def test_a_region_that_goes_outside_needs_nothing_and_is_all_fill():
    grid = Grid((8, 8, 8), (1, 1, 1))
    away = shift(0, 0, 100)
    needed = needed_region(away, grid, grid.region, grid)
    assert needed.size == 0
    nothing = np.empty(needed.shape, np.uint16)
    found = warp(nothing, grid, grid=grid, region=grid.region, transform=away, moving_region=needed, fill=3)
    assert (found == 3).all()


def test_voxels_that_are_needed_and_not_given_are_an_error():
    grid = Grid((8, 8, 8), (1, 1, 1))
    half = Region((0, 0, 0), (4, 8, 8))
    with pytest.raises(ValueError, match="need more of the moving volume"):
        warp(np.zeros(half.shape), grid, grid=grid, region=grid.region, transform=Stack(), moving_region=half)
    with pytest.raises(ValueError, match="its region is"):
        warp(np.zeros((3, 3, 3)), grid, grid=grid, region=grid.region, transform=Stack(), moving_region=half)


@settings(max_examples=100, deadline=None)
@given(SEEDS, st.text("af", max_size=3), st.sampled_from(INTERPOLATIONS))
def test_the_needed_region_holds_all_voxels_that_count(seed, kinds, interpolation):
    rng = np.random.default_rng(seed)
    grid, moving_grid = random_grid(rng), random_grid(rng)
    stack, region = random_stack(rng, grid, kinds), random_region(rng, grid)
    needed = needed_region(stack, grid, region, moving_grid, interpolation)
    index = moving_grid.to_index(stack.map_points(positions(grid, region)))
    last = np.array(moving_grid.shape) - 1
    index = index[((index >= -0.5) & (index <= last + 0.5)).all(axis=1)]
    low, high = {"linear": (0, 1), "nearest": (0, 0), "cubic": (-1, 2)}[interpolation]
    base = np.floor(index + (0.5 if interpolation == "nearest" else 0)).astype(int)
    if len(index):
        assert (np.clip(base + low, 0, last).min(axis=0) >= needed.start).all()
        assert (np.clip(base + high, 0, last).max(axis=0) < needed.stop).all()


def test_the_needed_region_of_a_rotated_block_is_not_much_more_than_it_needs():
    grid = Grid((256, 256, 256), (1, 1, 1))
    angle = np.deg2rad(20)
    linear = np.eye(3)
    linear[1:, 1:] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    stack = Stack((Affine.from_parts(linear, grid.centre - linear @ grid.centre),))
    region = Region((96, 96, 96), (160, 160, 160))
    index = stack.map_points(positions(grid, region))
    exact = np.prod(np.floor(index.max(axis=0)) + 2 - np.floor(index.min(axis=0)))
    assert needed_region(stack, grid, region, grid).size < 1.3 * exact


def test_a_warped_image_and_a_mapped_point_agree():
    """Blobs drawn in the moving image where the points go are found, after warping, where the points are."""
    rng = np.random.default_rng(0)
    grid = Grid((48, 56, 64), (1.5, 1.0, 1.2))
    stack = Stack((random_affine(rng, 0.04, 2.0), smooth_field(rng, grid.nodes((4, 4, 4)), 2.0, 3.0)))
    corners = grid.to_physical([[12, 12, 12], [12, 40, 40], [30, 14, 44], [34, 38, 14], [24, 28, 30]])
    points = corners + rng.uniform(-2, 2, corners.shape)
    moving = np.zeros(grid.shape, np.float32)
    for target in stack.map_points(points):
        moving += np.exp(-((positions(grid) - target) ** 2).sum(axis=1) / (2 * 1.8**2)).reshape(grid.shape)
    warped = warp(moving, grid, grid=grid, region=grid.region, transform=stack).ravel()
    centres = positions(grid)
    for point in points:
        near = np.linalg.norm(centres - point, axis=1) < 7
        found = np.average(centres[near], axis=0, weights=warped[near])
        assert (np.abs(found - point) / grid.spacing).max() < 0.05


def test_a_transform_means_the_same_points_at_every_scale():
    """A transform sampled on a coarse level's nodes warps the fine and the coarse level to one and the same scene."""
    rng = np.random.default_rng(0)
    fine = Grid((48, 56, 64), (1.0, 1.0, 1.0))
    coarse = fine.downsample((2, 2, 2))
    stack = Stack((random_affine(rng, 0.04, 2.0), smooth_field(rng, coarse.nodes((2, 2, 2)), 2.0, 3.0)))

    def scene(points):
        return np.sin(points / [9.0, 8.0, 7.0]).sum(axis=1)

    moving = scene(positions(fine)).reshape(fine.shape)
    for level in (fine, coarse):
        warped = warp(moving, fine, grid=level, region=level.region, transform=stack, fill=np.nan).ravel()
        inside = np.isfinite(warped)
        assert inside.mean() > 0.7
        targets = stack.map_points(positions(level)[inside])
        inner = ((targets > 0) & (targets < np.array(fine.shape) - 1)).all(axis=1)
        np.testing.assert_allclose(warped[inside][inner], scene(targets[inner]), atol=0.01)


def test_flat_and_single_voxel_volumes_are_warped():
    for shape in ((1, 1, 1), (1, 6, 7), (5, 1, 1)):
        grid = Grid(shape, (2.0, 1.0, 1.0))
        image = np.arange(1, grid.region.size + 1, dtype=np.uint8).reshape(shape)
        stack = Stack((Affine.identity(), DisplacementField.zeros(Grid((1, 1, 1), (1, 1, 1)))))
        for interpolation in INTERPOLATIONS:
            found = warp(image, grid, grid=grid, region=grid.region, transform=stack, interpolation=interpolation)
            assert np.array_equal(found, image)


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        ([0.5, 1.5, 2.4, -3.0, 300.0], "u1", [0, 2, 2, 0, 255]),
        ([np.nan, np.inf, -np.inf], "i2", [0, 32767, -32768]),
        ([1e30, -1.0], "u8", [2**64 - 1, 0]),
        ([9.3e18, -9.3e18, 12.0], "i8", [2**63 - 1, -(2**63), 12]),
        (np.array([-5, 70_000, 3]), "u2", [0, 65_535, 3]),
        (np.array([2**64 - 1], "u8"), "i8", [2**63 - 1]),
        (np.array([-1], "i8"), "u8", [0]),
        (np.array([True, False]), "u1", [1, 0]),
        ([1.25, np.nan], "f4", [1.25, np.nan]),
    ],
)
def test_casting_rounds_and_saturates(values, dtype, expected):
    found = cast(np.asarray(values), dtype)
    assert found.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(found, np.array(expected, dtype))
