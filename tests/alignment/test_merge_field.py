"""Screening, filling and merging the fields of blocks."""

from __future__ import annotations

import numpy as np
import pytest

from teralign.alignment.align_block import node_region
from teralign.alignment.merge_field import RETURN, FieldMerger, UsableBlocks, find_outliers
from teralign.alignment.stages import BlockLayout
from teralign.blockwise import Workspace, plan_blocks
from teralign.files import writing
from teralign.grids import Grid, Region
from teralign.transforms import DisplacementField, create_field, folding, node_positions

FIXED = Grid((50, 61, 47), (2.0, 1.5, 1.5), (3.0, 0.0, -7.0))
STRIDES = (3, 4, 4)
NODES = FIXED.nodes(STRIDES)
PLAN = plan_blocks(FIXED.shape, (18, 20, 20), 0.25, multiple=STRIDES)


def linear(points):
    """A displacement that an affine makes."""
    return (points - 20) @ np.array([[0.02, 0.01, 0.0], [0.0, -0.03, 0.02], [0.01, 0.0, 0.015]]) + [1.0, -2.0, 3.0]


def merger(tmp_path, displacement, missing=(), box=FIXED.region, fade=1.0):
    """A merger of blocks which each found `displacement`, but those at the indices `missing`."""
    workspace = Workspace(tmp_path / "work")
    workspace.prepare({})
    index, means = [], []
    for block in PLAN:
        if block.index in missing:
            continue
        own = node_region(block, STRIDES, NODES)
        values = displacement(node_positions(NODES, own)).reshape(*own.shape, 3).astype(np.float32)
        with writing(workspace.payload("align", block.name, ".npy")) as file:
            np.save(file, values)
        index.append(block.index)
        means.append(displacement(FIXED.crop(block.core).centre[None])[0])
    usable = tmp_path / "usable.npz"
    UsableBlocks(np.array(index).reshape(-1, 3), np.array(means).reshape(-1, 3)).save(usable)
    writer = create_field(tmp_path / "field.zarr", NODES, (8, 8, 8))
    workspace.close()
    return FieldMerger(BlockLayout(FIXED, PLAN, NODES, STRIDES), box, fade, "align", usable, None, workspace, writer)


def test_blocks_that_agree_merge_to_what_they_agree_on(tmp_path):
    merged = merger(tmp_path, linear).merge(NODES.region)
    expected = linear(node_positions(NODES)).reshape(merged.shape)
    np.testing.assert_allclose(merged, expected, atol=1e-5)


def test_chunks_merge_to_the_same_bytes_as_the_whole(tmp_path):
    rng = np.random.default_rng(0)
    job = merger(tmp_path, lambda p: rng.normal(size=p.shape))
    whole = job.merge(NODES.region)
    for region in NODES.region.split((5, 7, 3)):
        np.testing.assert_array_equal(job.merge(region), whole[region.slices])


def test_a_missing_block_is_filled_from_its_neighbours(tmp_path):
    constant = np.array([4.0, -5.0, 6.0])
    merged = merger(tmp_path, lambda p: np.broadcast_to(constant, p.shape), missing={(1, 1, 1), (0, 0, 0)})
    np.testing.assert_allclose(merged.merge(NODES.region), np.broadcast_to(constant, (*NODES.shape, 3)), atol=1e-5)


def test_a_filled_block_stays_within_what_its_neighbours_found(tmp_path):
    merged = merger(tmp_path, linear, missing={(1, 1, 1)}).merge(NODES.region)
    truth = linear(node_positions(NODES)).reshape(merged.shape)
    assert np.abs(merged - truth).max() < 0.5 * np.ptp(truth)
    assert merged.min() >= truth.min() - 1e-4
    assert merged.max() <= truth.max() + 1e-4


def test_beyond_a_box_the_field_returns_to_the_start_without_squeezing_space(tmp_path):
    """The box ends within a block; a return within one overlap of 8 voxels would fold space along y."""
    constant, box = np.array([4.0, -12.0, 6.0]), Region((0, 0, 0), (50, 25, 47))
    job = merger(
        tmp_path, lambda p: np.broadcast_to(constant, p.shape), box=box, fade=RETURN * np.linalg.norm(constant)
    )
    merged = job.merge(NODES.region)
    inside = node_positions(NODES)[:, 1].reshape(NODES.shape) <= FIXED.to_physical((0, 24, 0))[1]
    np.testing.assert_allclose(merged[inside], np.broadcast_to(constant, merged[inside].shape), atol=1e-5)
    assert folding(DisplacementField(merged, NODES)).min_jacobian > 1 - 1.5 / RETURN
    assert np.linalg.norm(merged[:, -1], axis=-1).max() < 0.9 * np.linalg.norm(constant)
    for region in NODES.region.split((5, 7, 3)):
        np.testing.assert_array_equal(job.merge(region), merged[region.slices])


def test_far_from_a_box_the_field_is_the_start(tmp_path):
    job = merger(tmp_path, linear, box=Region((0, 0, 0), (20, 20, 20)), fade=20.0)
    merged, positions = job.merge(NODES.region), node_positions(NODES).reshape(*NODES.shape, 3)
    far = (positions - FIXED.to_physical((21, 20, 20)) > 20).any(axis=-1)
    assert not merged[far].any()
    assert merged[:7, :6, :6].any(axis=-1).all()


def test_with_no_block_at_all_the_start_stays(tmp_path):
    every = {block.index for block in PLAN}
    assert not merger(tmp_path, linear, missing=every).merge(NODES.region).any()


def test_every_node_lies_in_the_block_that_owns_its_voxel():
    covered = np.zeros(NODES.shape, int)
    for block in PLAN:
        own = node_region(block, STRIDES, NODES)
        inner = Region(
            tuple(-(-a // s) for a, s in zip(block.core.start, STRIDES, strict=True)),
            tuple(-(-b // s) for b, s in zip(block.core.stop, STRIDES, strict=True)),
        )
        assert inner.intersect(own) == inner
        covered[own.slices] += 1
    assert (covered > 0).all()


@pytest.mark.parametrize("bad", [(0, 0, 0), (2, 1, 3)])
def test_one_wild_block_is_found_and_a_slope_is_not(bad):
    index = np.array(list(np.ndindex(3, 4, 5)))
    displacement = linear(index * 40.0)
    blocks = UsableBlocks(index, displacement)
    assert not find_outliers(blocks, (40.0, 40.0, 40.0)).any()
    wild = displacement.copy()
    wild[(index == bad).all(axis=1)] += [25.0, 0.0, -25.0]
    found = find_outliers(UsableBlocks(index, wild), (40.0, 40.0, 40.0))
    np.testing.assert_array_equal(index[found], [bad])


def test_few_blocks_have_no_outlier():
    blocks = UsableBlocks(np.array([[0, 0, 0], [0, 0, 1], [0, 0, 2]]), np.array([[0.0, 0, 0], [90, 0, 0], [0, 0, 0]]))
    assert not find_outliers(blocks, (40.0, 40.0, 40.0)).any()


def test_of_a_million_blocks_those_that_are_usable_are_found_at_once(tmp_path):
    index = np.argwhere(np.ones((100, 100, 100), dtype=bool))[1:]
    UsableBlocks(index, np.zeros((len(index), 3))).save(tmp_path / "usable.npz")
    usable = UsableBlocks.load(tmp_path / "usable.npz")
    assert UsableBlocks.load(tmp_path / "usable.npz") is usable
    assert [usable.has(place) for place in ((0, 0, 0), (0, 0, 1), (99, 99, 99), (0, 100, 0))] == [
        False,
        True,
        True,
        False,
    ]
    near = usable.index[usable.nearest((0, 0, 0))]
    assert len(near) == 8
    assert {(0, 0, 1), (0, 1, 0), (1, 0, 0)} < {tuple(place) for place in near.tolist()}
    assert not UsableBlocks(index[:0], np.zeros((0, 3))).has((0, 0, 0))
