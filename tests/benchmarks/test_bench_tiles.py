"""What the benchmark of tiles says of its rows."""

from __future__ import annotations

import pytest
from benchmarks.tables import Row
from benchmarks.tile_summary import summary

GOOD: Row = {
    "tool": "teralign",
    "median": 0.1,
    "p95": 0.2,
    "max": 0.3,
    "thrown": 0,
    "unflagged": 0,
    "further": 0,
    "voxel_us": 0.2,
    "lone": 2,
    "lone_stage": 2.0,
    "lone_left": 0.8,
}


def met(rows: list[Row]) -> dict[str, str]:
    return {str(row["must"])[:12]: str(row["met"]) for row in summary(rows)}


def test_all_that_holds_is_met():
    assert set(met([GOOD | {"seed": 1}, GOOD | {"seed": 2}]).values()) == {"yes"}


@pytest.mark.parametrize(
    ("key", "value", "must"),
    [("p95", 0.4, "tissue, 95th"), ("thrown", 1, "tiles thrown"), ("lone_left", 1.5, "4 tiles with")],
)
def test_one_bad_seed_misses(key: str, value: float, must: str):
    found = met([GOOD | {"seed": 1}, GOOD | {"seed": 2, key: value}])
    assert [name for name, word in found.items() if word == "no"] == [must]


def test_what_was_not_measured_and_what_others_reach_has_no_row():
    rows = [GOOD | {"seed": 1}, GOOD | {"seed": 1, "tool": "multiview-stitcher", "max": 60.0}]
    found = met(rows)
    assert "no" not in found.values() and not any(name.startswith("fusion") for name in found)


def test_real_tiles_may_be_nearer_to_fiji_or_fit_better():
    row: Row = {"seed": "63 real tiles", "tool": "teralign", "median": 1.5, "ncc": 0.95, "ncc_fiji": 0.91}
    assert [r["met"] for r in summary([row])] == ["yes"]
    assert [r["met"] for r in summary([row | {"ncc": 0.9}])] == ["no"]
