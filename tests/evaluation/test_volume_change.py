"""Percentiles of any number of determinants in one pass."""

from __future__ import annotations

import numpy as np
import pytest

from teralign.evaluation import VolumeChange


def test_percentiles_are_those_of_all_values_to_a_thousandth():
    values = np.random.default_rng(0).normal(0.9, 0.4, (40, 50, 60)).astype(np.float32)
    spread = VolumeChange()
    for part in np.array_split(values, 7, axis=1):
        spread.add(part)
    found = spread.summary()
    assert found.min == values.min()
    assert found.folded_share == pytest.approx((values <= 0).mean())
    for name, share in (("p1", 1), ("median", 50), ("p99", 99)):
        assert getattr(found, name) == pytest.approx(np.percentile(values, share, method="inverted_cdf"), rel=1e-3)


@pytest.mark.parametrize("value", [1.0, -0.25, 0.0, 1e-30, 3e8])
def test_one_value_is_each_percentile(value):
    spread = VolumeChange()
    spread.add(np.full((2, 3, 4), value, np.float32))
    found = spread.summary()
    assert found.folded_share == (1.0 if value <= 0 else 0.0)
    assert [getattr(found, name) for name in ("p1", "median", "p99")] == pytest.approx([value] * 3, rel=1e-3)
    assert found.min <= found.p1 <= found.median
