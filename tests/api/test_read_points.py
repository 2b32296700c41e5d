"""Points from tables and data frames become arrays, and go through a registration."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import teralign as ta
from teralign.errors import InputError

FRAME = pd.DataFrame({"gene": ["a", "b"], "x": [30, 31.5], "y": [20, 21], "z": [10, 11]})


def test_a_table_and_a_data_frame_give_the_same_points(found, tmp_path):
    FRAME.to_csv(tmp_path / "spots.csv", index=False)
    points = ta.read_points(tmp_path / "spots.csv")
    np.testing.assert_array_equal(points, [[10, 20, 30], [11, 21, 31.5]])
    np.testing.assert_array_equal(ta.read_points(FRAME), points)
    assert found.map_points(points).shape == (2, 3)


def test_a_lazy_data_frame(monkeypatch):
    class Lazy:
        columns = FRAME.columns

        def __getitem__(self, names):
            chosen = Lazy()
            chosen.compute = lambda: FRAME[names]
            return chosen

    np.testing.assert_array_equal(ta.read_points(Lazy()), ta.read_points(FRAME))


def test_what_has_no_points_gets_a_sentence():
    with pytest.raises(InputError, match="lacks the columns z"):
        ta.read_points(FRAME.drop(columns="z"))
    with pytest.raises(InputError, match="not int"):
        ta.read_points(3)
