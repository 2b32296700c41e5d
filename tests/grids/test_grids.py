"""Voxels and physical space."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from teralign.grids import Grid, Region, reverse_axes

shapes = st.tuples(*[st.integers(1, 400)] * 3)
spacings = st.tuples(*[st.floats(0.05, 20)] * 3)
origins = st.tuples(*[st.floats(-1e4, 1e4)] * 3)
grids = st.builds(Grid, shapes, spacings, origins)


def test_axes_turn_round():
    assert reverse_axes((1, 2, 3)) == (3, 2, 1)


@given(grids, st.tuples(*[st.floats(-500, 500)] * 3))
def test_index_and_position_are_inverse(grid, index):
    np.testing.assert_allclose(grid.to_index(grid.to_physical(index)), index, atol=1e-6)


@given(grids, st.data())
def test_crop_leaves_voxels_where_they_are(grid, data):
    start = tuple(data.draw(st.integers(0, n - 1)) for n in grid.shape)
    stop = tuple(data.draw(st.integers(a + 1, n)) for a, n in zip(start, grid.shape, strict=True))
    crop = grid.crop(Region(start, stop))
    assert crop.shape == Region(start, stop).shape
    np.testing.assert_allclose(crop.to_physical((0, 0, 0)), grid.to_physical(start), rtol=1e-12, atol=1e-9)


@given(grids, st.tuples(*[st.integers(1, 9)] * 3))
def test_coarsened_nodes_lie_on_voxel_centres_and_reach_the_last(grid, strides):
    nodes = grid.nodes(strides)
    np.testing.assert_allclose(nodes.to_physical((1, 1, 1)), grid.to_physical(strides), atol=1e-6)
    last = (np.array(nodes.shape) - 1) * strides
    assert (last >= np.array(grid.shape) - 1).all()
    assert (last - strides < np.array(grid.shape) - 1).all()


def test_means_of_two_voxels_lie_between_them():
    level = Grid((10, 11, 12), (1.0, 2.0, 3.0), (5.0, 0.0, 0.0)).downsample((2, 2, 1))
    assert level == Grid((5, 5, 12), (2.0, 4.0, 3.0), (5.5, 1.0, 0.0))


def test_an_axis_of_one_voxel_stays():
    assert Grid((1, 8, 8), (1, 1, 1)).downsample((2, 2, 2)) == Grid((1, 4, 4), (1, 2, 2), (0, 0.5, 0.5))


@given(shapes, st.tuples(*[st.integers(30, 130)] * 3))
def test_split_covers_each_voxel_once(shape, cell):
    parts = list(Region.whole(shape).split(cell))
    assert sum(p.size for p in parts) == np.prod(shape)
    assert all(p.intersect(q).size == 0 for p in parts[:5] for q in parts[:5] if p is not q)
    assert all(a % c == 0 for p in parts for a, c in zip(p.start, cell, strict=True))


def test_split_of_a_part_stays_on_the_lattice():
    parts = list(Region((5, 0, 0), (25, 4, 4)).split((10, 4, 4)))
    assert [(p.start[0], p.stop[0]) for p in parts] == [(5, 10), (10, 20), (20, 25)]


def test_intersection_of_strangers_is_empty():
    assert Region((0, 0, 0), (2, 2, 2)).intersect(Region((5, 5, 5), (6, 6, 6))).size == 0


def test_covering_encloses_the_box():
    grid = Grid((10, 10, 10), (2, 2, 2))
    assert grid.covering((3, 4, 5), (3, 6, 9)) == Region((1, 2, 2), (3, 4, 6))
    assert grid.covering((3, 4, 5), (3, 6, 9), margin=1) == Region((0, 1, 1), (4, 5, 7))


def test_a_box_touches_the_voxels_that_it_reaches_into():
    """Voxel i reaches from 2i − 1 to 2i + 1; a box that ends at a face does not touch the voxel beyond it."""
    grid = Grid((10, 10, 10), (2, 2, 2))
    assert grid.touching((3, 2.9, -50), (7, 7.1, 50)) == Region((2, 1, 0), (4, 5, 10))
    assert grid.touching((4.2, 0, 0), (4.3, 1, 1)).shape == (1, 1, 1)
    assert grid.touching((19, 0, 0), (30, 9, 9)).size == 0


def test_lengths_are_divided():
    grid = Grid((2, 3, 4), (1.0, 2.0, 4.0), (8.0, -4.0, 0.0))
    assert grid.divide(4) == Grid((2, 3, 4), (0.25, 0.5, 1.0), (2.0, -1.0, 0.0))


@pytest.mark.parametrize("bad", [{"shape": (0, 1, 1)}, {"spacing": (0, 1, 1)}, {"spacing": (1, float("nan"), 1)}])
def test_impossible_grids_are_refused(bad):
    with pytest.raises(ValueError):
        Grid(**({"shape": (1, 1, 1), "spacing": (1, 1, 1)} | bad))
