"""The choice of the blocks whose error is measured, and the errors of the others."""

import numpy as np
import pytest

from teralign.trust import choose_blocks, spread_errors


def lattice(*counts):
    return np.argwhere(np.ones(counts, bool))


def test_few_blocks_are_all_measured_and_of_many_an_eighth():
    assert choose_blocks(lattice(2, 2, 2)).tolist() == list(range(8))
    assert len(choose_blocks(lattice(2, 3, 3))) == 8
    assert len(choose_blocks(lattice(10, 10, 10))) == 125
    assert choose_blocks(lattice(0, 1, 1)).size == 0


@pytest.mark.parametrize("counts", [(8, 8, 8), (1, 24, 24), (2, 16, 8), (4, 12, 18)])
def test_measured_blocks_are_spread_evenly(counts):
    """No block is more than three blocks from a measured one, and both halves of an axis have about as many."""
    index = lattice(*counts)
    chosen = index[choose_blocks(index)]
    away = np.abs(index[:, None] - chosen[None]).max(axis=2).min(axis=1)
    assert away.max() <= 3
    for axis, count in enumerate(counts):
        halves = np.bincount(chosen[:, axis] * 2 // count, minlength=2)
        assert count == 1 or halves.max() <= 1.5 * halves.min()


def test_a_block_takes_the_errors_of_those_near_it():
    places = np.array([[0.0, 0, x] for x in range(0, 100, 10)])
    errors = np.full(10, np.nan)
    errors[[1, 8]] = 0.2, 0.8
    found = spread_errors(places, np.ones(10), errors)
    np.testing.assert_array_equal(found[[1, 8]], [0.2, 0.8])
    assert (np.diff(found[1:9]) > 0).all()
    assert found[2] < 0.23 and found[7] > 0.7


def test_a_noisier_block_has_a_larger_error():
    places = np.array([[0.0, 0, 0], [0, 0, 1], [0, 0, 2], [0, 0, 3]])
    found = spread_errors(places, np.array([1.0, 1.0, 2.0, np.nan]), np.array([0.3, 0.3, np.nan, np.nan]))
    np.testing.assert_allclose(found, [0.3, 0.3, 0.6, 0.3])


def test_without_a_measured_block_nothing_is_known():
    assert np.isnan(spread_errors(np.zeros((2, 3)), np.ones(2), np.full(2, np.nan))).all()
    assert spread_errors(np.zeros((2, 3)), np.ones(2), np.array([0.2, 0.3])).tolist() == [0.2, 0.3], "all measured"
    assert spread_errors(np.zeros((0, 3)), np.zeros(0), np.zeros(0)).size == 0
