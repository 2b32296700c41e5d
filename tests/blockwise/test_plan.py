"""The cores tile the grid; the weights sum to one."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teralign.blockwise import BlockPlan, plan_blocks
from teralign.grids import Region

axis = st.tuples(st.integers(1, 70), st.integers(1, 40), st.integers(1, 9))


@st.composite
def plans(draw: st.DrawFn) -> tuple[BlockPlan, tuple[tuple[int, int, int], ...], float]:
    axes = draw(st.tuples(axis, axis, axis))
    overlap = draw(st.floats(0, 1))
    shape, block, multiple = zip(*axes, strict=True)
    return plan_blocks(shape, block, overlap, multiple), axes, overlap


@settings(deadline=None)
@given(plans())
def test_cores_tile_the_grid_in_near_equal_parts_on_the_lattice(made):
    plan, axes, _ = made
    for edges, (length, size, multiple) in zip(plan.edges, axes, strict=True):
        widths = np.diff(edges)
        assert edges[0] == 0
        assert edges[-1] == length
        assert widths.min() > 0
        assert all(e % multiple == 0 for e in edges[:-1])
        assert widths.max() < max(multiple, 1.1 * size) + multiple
        assert widths.max() - widths.min() < 2 * multiple
    assert len(plan) == len(list(plan)) == np.prod(plan.counts)


@settings(deadline=None)
@given(plans())
def test_regions_are_cores_with_their_halo_within_the_grid(made):
    plan, axes, overlap = made
    whole = Region.whole(plan.shape)
    for halo, (_, size, multiple) in zip(plan.halo, axes, strict=True):
        assert abs(halo - overlap * size) <= max(multiple, 1) / 2
        assert halo % multiple == 0 or overlap * size <= multiple / 2
    for block in itertools.islice(plan, 20):
        assert block.region == block.core.grow(plan.halo).intersect(whole)


@settings(deadline=None)
@given(plans(), st.integers(0, 2**32 - 1))
def test_weights_sum_to_one_inside_the_grid_on_its_edges_and_beyond(made, seed):
    plan, _, _ = made
    random = np.random.default_rng(seed)
    positions = [
        np.sort(np.concatenate([[-0.5, 0, n - 1, n - 0.5, n + 3.7], random.uniform(-2, n + 2, 4)]))
        for n in plan.shape
    ]
    for axis, at in enumerate(positions):  # separable, so axis by axis is enough, and a million blocks are too many
        total = np.zeros_like(at)
        middle = [np.array([e[0] - 10.0]) for e in plan.edges]
        middle[axis] = at
        for i in range(plan.counts[axis]):
            index = [0, 0, 0]
            index[axis] = i
            weights = plan.blend_weights(plan.block(index), middle).ravel()
            assert weights.min() >= 0
            total += weights
        np.testing.assert_allclose(total, 1, atol=1e-12)


@settings(deadline=None, max_examples=30)
@given(
    st.tuples(*[st.tuples(st.integers(1, 24), st.integers(5, 12))] * 3), st.floats(0, 0.6), st.integers(0, 2**32 - 1)
)
def test_weights_that_are_there_blend_what_agrees_to_itself_whoever_is_missing(axes, overlap, seed):
    shape, size = zip(*axes, strict=True)
    plan = plan_blocks(shape, size, overlap)
    missing = np.random.default_rng(seed).random(len(plan)) < 0.4
    nodes = [np.arange(0, n, 1.5) for n in shape]
    total = np.zeros([len(n) for n in nodes])
    blended = np.zeros_like(total)
    for block, gone in zip(plan, missing, strict=True):
        if not gone:
            weights = plan.blend_weights(block, nodes)
            total += weights
            blended += weights * 7.25
    assert total.max(initial=0) <= 1 + 1e-12
    np.testing.assert_allclose(blended[total > 0] / total[total > 0], 7.25, rtol=1e-9)


@settings(deadline=None)
@given(plans())
def test_every_voxel_with_weight_is_read_by_the_block(made):
    plan, _, _ = made
    voxels = [np.arange(n) for n in plan.shape]
    for block in itertools.islice(plan, 12):
        outside = plan.blend_weights(block, voxels)
        outside[block.region.slices] = 0
        assert not outside.any()


@settings(deadline=None)
@given(plans(), st.tuples(*[st.tuples(st.integers(-5, 75), st.integers(0, 30))] * 3))
def test_touching_finds_exactly_the_blocks_that_read_of_a_region(made, box):
    plan, _, _ = made
    region = Region(tuple(a for a, _ in box), tuple(a + n for a, n in box))
    found = plan.touching(region)
    if len(plan) <= 300:
        assert found == [b for b in plan if b.region.intersect(region).size]
    else:
        assert all(b.region.intersect(region).size for b in found)


def test_a_sliver_makes_no_block_of_its_own():
    assert plan_blocks((260, 256, 300), (256, 256, 256)).counts == (1, 1, 2)


def test_weights_pass_from_one_block_to_the_next_without_a_kink():
    plan = plan_blocks((1, 1, 64), (1, 1, 32), 0.25)
    weights = plan.blend_weights(plan[0], ([0], [0], np.arange(64))).ravel()
    assert weights[:24].min() == 1
    assert weights[40:].max() == 0
    assert weights[31] + weights[32] == pytest.approx(1)
    assert np.abs(np.diff(weights, 2)).max() < 0.02


def test_a_plan_is_a_sequence_that_takes_no_memory():
    plan = plan_blocks((10**5, 10**5, 10**5), (128, 128, 128), 0.25)
    assert len(plan) > 3e8
    assert plan[-1].core.stop == (10**5, 10**5, 10**5)
    assert plan[-1] == plan.block(tuple(n - 1 for n in plan.counts))
    assert plan[3:5] == [plan[3], plan[4]]
    assert plan[1000000].name == "z001_y496_x604"
    with pytest.raises(IndexError):
        plan[len(plan)]
    with pytest.raises(IndexError):
        plan.block((0, -1, 0))


@pytest.mark.parametrize("arguments", [((0, 1, 1), (1, 1, 1)), ((4, 4, 4), (2, 2, 0)), ((4, 4, 4), (2, 2, 2), 1.5)])
def test_sizes_that_make_no_sense_are_refused(arguments):
    with pytest.raises(ValueError, match=r"positive|between 0 and 1"):
        plan_blocks(*arguments)
