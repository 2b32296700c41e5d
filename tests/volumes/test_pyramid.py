import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teralign.grids import Grid
from teralign.volumes.pyramid import halved, mean, mode, plan_levels
from volume_files import noise

factors = st.tuples(*[st.sampled_from([1, 2])] * 3)
shapes = st.tuples(*[st.integers(2, 9)] * 3)


@pytest.mark.parametrize(
    ("spacing", "steps"),
    [
        ((1, 1, 1), [(2, 2, 2), (2, 2, 2)]),
        ((0.84, 0.92, 0.92), [(2, 2, 2), (2, 2, 2)]),
        ((4, 1, 1), [(1, 2, 2), (1, 2, 2), (2, 2, 2)]),
        ((1.8, 1, 1), [(1, 2, 2), (2, 2, 2)]),
        ((1, 1, 0.3), [(1, 1, 2), (1, 1, 2), (2, 2, 2)]),
    ],
)
def test_levels_halve_the_finer_axes_until_voxels_are_isotropic(spacing, steps):
    grids, _ = plan_levels(Grid((600, 600, 600), spacing), len(steps) + 1)
    assert [halved(grid) for grid in grids[:-1]] == steps


def test_levels_end_at_256_voxels_unless_their_number_is_given():
    grid = Grid((100, 1030, 700), (1, 1, 1))
    assert [g.shape for g in plan_levels(grid, None)[0]] == [
        (100, 1030, 700),
        (50, 515, 350),
        (25, 257, 175),
        (12, 128, 87),
    ]
    assert len(plan_levels(Grid((256, 256, 256), (1, 1, 1)), None)[0]) == 1
    assert len(plan_levels(grid, 1)[0]) == 1
    assert plan_levels(grid, 3)[1] == ((1, 1, 1), (2, 2, 2), (4, 4, 4))


def test_axes_of_one_voxel_stay_and_end_the_pyramid():
    grids, steps = plan_levels(Grid((1, 4, 2), (0.1, 1, 1)), 9)
    assert [g.shape for g in grids] == [(1, 4, 2), (1, 2, 1), (1, 1, 1)]
    assert steps == ((1, 1, 1), (1, 2, 2), (1, 4, 2))


@settings(deadline=None, max_examples=50)
@given(shape=shapes, factors=factors, seed=st.integers(0, 99))
def test_the_mean_keeps_linear_ramps_where_the_grid_says(shape, factors, seed):
    slope = np.random.default_rng(seed).normal(size=3)
    fine = Grid(shape, (2.0, 0.5, 0.25), (1.0, 2.0, 3.0))
    coarse = fine.downsample(factors)
    ramp = fine.to_physical(np.moveaxis(np.indices(shape), 0, -1)) @ slope
    expected = coarse.to_physical(np.moveaxis(np.indices(coarse.shape), 0, -1)) @ slope
    np.testing.assert_allclose(mean(ramp, factors), expected, atol=1e-12)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64"])
def test_the_mean_is_exact_and_rounded_once(dtype):
    array = noise((7, 8, 9), dtype)
    groups = array[:6, :8, :8].astype(np.float64).reshape(3, 2, 4, 2, 4, 2).mean((1, 3, 5))
    found = mean(array, (2, 2, 2))
    assert found.dtype == array.dtype
    if array.dtype.kind == "f":
        np.testing.assert_allclose(found, groups, rtol=1e-5, atol=1e-6)
    else:
        np.testing.assert_array_equal(found, np.rint(groups))


@settings(deadline=None, max_examples=50)
@given(shape=shapes, factors=factors, seed=st.integers(0, 99))
def test_the_mode_is_a_most_frequent_value(shape, factors, seed):
    ids = np.array([0, 7, 2**63 + 1, 2**64 - 1], dtype=np.uint64)
    labels = np.random.default_rng(seed).choice(ids, shape)
    found = mode(labels, factors)
    for index in np.ndindex(found.shape):
        group = labels[tuple(slice(i * f, (i + 1) * f) for i, f in zip(index, factors, strict=True))]
        values, counts = np.unique(group, return_counts=True)
        assert found[index] in values[counts == counts.max()]


def test_masks_of_booleans_take_the_mode():
    mask = np.zeros((2, 2, 2), bool)
    mask[0] = mask[1, 0, 0] = True
    assert mean(mask, (2, 2, 2)).tolist() == [[[True]]]
