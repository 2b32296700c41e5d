"""The verdict on pairs of known truth: a short form of `python -m benchmarks trust`."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.trust import summary, try_pair
from benchmarks.trust_pairs import known_pair

from real_data import needs_real_data

SEED = 900  # neither of the set tuned on nor of the one scored


@pytest.mark.parametrize(
    ("kind", "truth"),
    [("plain", "good"), ("slab of 12", "good"), ("mirrored", "bad"), ("noise", "bad"), ("wrong channel", "bad")],
)
def test_the_verdict_on_the_phantom_is_true(kind, truth):
    row = try_pair(known_pair(kind, "phantom b", SEED))
    assert (row["truth"], row["verdict"]) == (truth, truth)


@needs_real_data
@pytest.mark.parametrize(
    ("kind", "place", "truth"),
    [
        ("inverted", "section d", "good"),
        ("few spots", "brain", "good"),
        ("other place", "section f", "bad"),
        ("turned 90°", "section d", "bad"),
    ],
)
def test_the_verdict_on_real_volumes_is_true(kind, place, truth):
    row = try_pair(known_pair(kind, place, SEED))
    assert (row["truth"], row["verdict"]) == (truth, truth)


@needs_real_data
def test_an_image_of_which_half_is_missing_is_not_called_bad():
    row = try_pair(known_pair("half missing", "section e", SEED))
    assert row["truth"] == "good"
    assert row["verdict"] in ("good", "doubtful")


def test_a_pair_knows_its_truth():
    pair = known_pair("plain", "phantom b", SEED)
    same = known_pair("plain", "phantom b", SEED)
    np.testing.assert_array_equal(pair.moving.array, same.moving.array)
    assert len(pair.points) > 1000
    assert pair.errors(lambda points: points).mean() > 2
    assert pair.errors(lambda points: pair.places).max() == 0


def test_the_sums_name_both_faults():
    rows = [
        {"truth": "good", "verdict": "bad"},
        {"truth": "bad", "verdict": "good"},
        {"truth": "bad", "verdict": "bad"},
    ]
    assert summary(rows).endswith("bad called good: 1; good called bad: 1")
