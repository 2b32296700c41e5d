"""The single-plane tiles of a real brain section against Fiji's solution."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.tile_section import Section

from real_data import REAL_DATA, needs_real_data

pytestmark = needs_real_data


@pytest.fixture(scope="module")
def section() -> Section:
    return Section.of(REAL_DATA / "tiles")


def test_positions_are_those_of_fiji(section: Section):
    apart = section.apart()
    assert len(apart) >= 36 and np.median(apart) < 1


def test_overlaps_correlate_better_than_those_of_fiji(section: Section):
    theirs, ours = section.correlations().T
    assert np.median(ours) > np.median(theirs) and ours.mean() > theirs.mean()
