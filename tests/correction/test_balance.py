"""Tiles of different brightness: the gains that the overlaps tell, and what is learnt of bleaching."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from teralign.correction import MatchedOverlap, balance_tiles, match_overlap

SIDE, STEP = 40, 32


def snake(rows, columns):
    """The order of acquisition of a grid of tiles, row by row to and fro."""
    return [r * columns + (c if r % 2 == 0 else columns - 1 - c) for r in range(rows) for c in range(columns)]


def grid_of(rows, columns, gains, *, offsets=None, lit=0.0, seed=0, orders=None):
    """The overlaps of tiles (1.25 overlap) of one scene, each tile of its own gain and offset, with noise."""
    rng = np.random.default_rng(seed)
    extent = (2, rows * STEP + 8, columns * STEP + 8)
    noise = ndimage.gaussian_filter(rng.normal(size=extent), (0, 4, 4))
    scene = 200 + 400 * np.clip(noise / noise.std(), 0, None)
    boxes = [(r * STEP, c * STEP) for r in range(rows) for c in range(columns)]
    seen = np.zeros(extent[1:], int)
    tiles = {}
    for n in np.argsort(range(len(boxes)) if orders is None else orders):
        y, x = boxes[n]
        box = slice(y, y + SIDE), slice(x, x + SIDE)
        light = gains[n] * (1 - lit) ** np.minimum(seen[box], 1)
        tiles[int(n)] = (
            scene[:, *box] * light + rng.normal(0, 10, (2, SIDE, SIDE)) + (0 if offsets is None else offsets[n])
        )
        seen[box] += 1
    matches = []
    for a in range(len(boxes)):
        for b in range(a + 1, len(boxes)):
            start = np.maximum(boxes[a], boxes[b])
            stop = np.minimum(boxes[a], boxes[b]) + SIDE
            if (stop <= start).any() or sorted(stop - start)[1] < SIDE:
                continue
            views = [
                tiles[n][:, start[0] - y : stop[0] - y, start[1] - x : stop[1] - x]
                for n, (y, x) in ((a, boxes[a]), (b, boxes[b]))
            ]
            found = match_overlap([tuple(views)])
            assert found is not None
            matches.append(MatchedOverlap(a, b, *found))
    return matches


def relative(gain):
    return gain / np.exp(np.log(gain).mean())


def test_gains_are_undone():
    gains = np.exp(np.random.default_rng(1).normal(0, 0.2, 12))
    found = balance_tiles(grid_of(3, 4, gains), 12, [None] * 12)
    np.testing.assert_allclose(found.gain, relative(1 / gains), rtol=0.015)
    assert found.spread_after < 2 < found.spread_before
    assert (found.offset == 0).all() and found.loss == found.lit_loss == 0


def test_offsets_are_undone_where_asked():
    rng = np.random.default_rng(2)
    gains, offsets = np.exp(rng.normal(0, 0.1, 12)), rng.normal(0, 20, 12)
    matches = grid_of(3, 4, gains, offsets=offsets)
    with_offset = balance_tiles(matches, 12, [None] * 12, with_offset=True)
    assert with_offset.spread_after < 0.5 * balance_tiles(matches, 12, [None] * 12).spread_after
    assert np.corrcoef(with_offset.offset, -offsets / gains)[0, 1] > 0.9


def test_tiles_without_an_overlap_keep_their_brightness():
    found = balance_tiles([MatchedOverlap(0, 1, np.full(6, 100.0), np.full(6, 200.0))], 4, [0, 1, 2, 3])
    np.testing.assert_array_equal(found.gain[2:], 1)
    np.testing.assert_allclose(found.gain[0] / found.gain[1], 2, rtol=0.01)
    assert found.gain[0] * found.gain[1] == pytest.approx(1)
    nothing = balance_tiles([], 3, [0, 1, 2])
    np.testing.assert_array_equal(nothing.gain, 1)


def test_parts_of_a_scan_are_balanced_each_on_its_own():
    levels = np.full(6, 100.0)
    found = balance_tiles(
        [MatchedOverlap(0, 1, levels, 4 * levels), MatchedOverlap(2, 3, levels, levels)], 4, [None] * 4
    )
    np.testing.assert_allclose(found.gain, [2, 0.5, 1, 1], rtol=0.01)


def test_bleaching_is_learnt_from_the_order():
    orders = snake(5, 5)
    gains = np.exp(-0.02 * np.array(orders)) * np.exp(np.random.default_rng(3).normal(0, 0.02, 25))
    found = balance_tiles(grid_of(5, 5, gains, orders=orders), 25, orders)
    assert found.loss == pytest.approx(0.02, abs=0.004)
    np.testing.assert_allclose(found.gain, relative(1 / gains), rtol=0.02)


def test_light_lost_to_an_earlier_tile_is_not_taken_for_a_gain():
    orders = snake(5, 5)
    matches = grid_of(5, 5, np.ones(25), lit=0.1, orders=orders)
    found = balance_tiles(matches, 25, orders)
    assert found.lit_loss == pytest.approx(0.1, abs=0.03)
    assert np.abs(found.gain - 1).max() < 0.03
    assert found.spread_after < 5 < balance_tiles(matches, 25, [None] * 25).spread_after


def test_edges_that_differ_in_all_tiles_do_not_pass_for_what_was_lit_before():
    """Lower edges are 8 % brighter than upper ones, as where the flat field is wrong; rows go to and fro.

    What rows differ by may as well be bleaching from tile to tile, so nothing is asked of the gains.
    """
    orders = snake(5, 5)
    matches = []
    for match in grid_of(5, 5, np.ones(25), lit=0.1, orders=orders):
        below, beside = np.subtract(divmod(match.second, 5), divmod(match.first, 5))
        others = match.others * np.exp(-0.08 * below)
        matches.append(replace(match, others=others, side=(int(below), int(beside))))
    found = balance_tiles(matches, 25, orders)
    assert found.lit_loss == pytest.approx(0.1, abs=0.02)
    assert found.spread_after < 2


def test_overlaps_that_contradict_each_other_do_not_add_up():
    rng = np.random.default_rng(1)
    matches = [
        replace(match, others=match.others * np.exp(rng.normal(0.1, 0.3))) for match in grid_of(3, 12, np.ones(36))
    ]
    found = balance_tiles(matches, 36, [None] * 36)
    assert np.abs(np.log(found.gain)).max() < 0.25


def test_an_overlap_that_disagrees_has_little_say():
    gains = np.ones(16)
    matches = grid_of(4, 4, gains)
    wrong = matches[5]
    matches[5] = replace(wrong, others=3 * wrong.others)
    np.testing.assert_allclose(balance_tiles(matches, 16, [None] * 16).gain, 1, atol=0.05)


def test_an_overlap_without_content_says_nothing():
    assert match_overlap([(np.zeros((2, 40, 8)), np.ones((2, 40, 8)))]) is None
    assert match_overlap([(np.ones((1, 2, 2)), np.ones((1, 2, 2)))]) is None
    assert match_overlap([]) is None
