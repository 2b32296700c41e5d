"""Commands that are all gone when a test ends."""

from __future__ import annotations

import pytest
from processes import Processes, wait_until


@pytest.fixture
def processes(tmp_path):
    started = Processes(tmp_path)
    try:
        yield started
        wait_until(lambda: not started.alive(), 10)
    finally:
        started.clear()
