"""The folder of real data, which not everybody has: tests that need it carry `needs_real_data`."""

import os
from pathlib import Path

import pytest

REAL_DATA = Path(os.environ.get("TERALIGN_TEST_DATA") or "no real data")
needs_real_data = pytest.mark.skipif(
    not REAL_DATA.is_dir(), reason="needs real data: TERALIGN_TEST_DATA does not name its folder"
)
