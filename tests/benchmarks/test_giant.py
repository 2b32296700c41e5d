"""Volumes far larger than memory, in the short form of `python -m benchmarks --only giant`."""

from __future__ import annotations

import pytest
from benchmarks.giant import plans, sparse


@pytest.mark.slow
def test_a_million_blocks_are_planned_in_a_gibibyte(tmp_path):
    for row in plans(tmp_path):
        assert row["fault"] == "", row
        assert row["blocks"] >= 1_000_000, row
        assert row["peak_gib"] < 1, row
        print(row)


@pytest.mark.slow
def test_a_sparse_volume_is_warped_within_what_the_plan_says(tmp_path):
    """2 GiB of voxels, of which a 64th part is there."""
    row = sparse(tmp_path, (1024, 1024, 1024), workers=1)
    assert row["fault"] == ""
    assert 0 < row["largest_gib"] < row["predicted_gib"] < 1
    print(row)
