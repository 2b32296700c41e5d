"""The workers of a command, as its log names them."""

from __future__ import annotations

import pytest

from teralign.cluster.capacity import Capacity


@pytest.mark.parametrize(
    ("capacity", "text"),
    [
        (Capacity(0, 0), "1 cpu"),  # a scheduler without workers: times are those of one core
        (Capacity(1, 1), "1 cpu"),
        (Capacity(1, 4), "4 cpus"),
        (Capacity(2, 8), "2 workers with 8 cpus together"),
    ],
)
def test_cores_are_those_of_all_workers_together(capacity: Capacity, text: str) -> None:
    assert str(capacity) == text
