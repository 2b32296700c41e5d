"""A plan says what a command needs, and how many workers it can use."""

from __future__ import annotations

import pytest

from teralign.cluster import Capacity
from teralign.cluster.useful_workers import USEFUL_WORKERS_VARIABLE
from teralign.errors import InputError
from teralign.plans import Plan

PLAN = Plan(
    output="warped.zarr",
    blocks={"warp": 12, "level-2": 3},
    read_bytes=0,
    write_bytes=0,
    worker_memory_bytes=2 * 10**9,
    estimated_seconds=60,
)


def test_who_starts_workers_is_told_how_many_the_largest_stage_can_use(tmp_path, monkeypatch):
    told = tmp_path / "useful_workers"
    assert PLAN.checked(Capacity(1, 1)) is PLAN
    assert not told.exists()
    monkeypatch.setenv(USEFUL_WORKERS_VARIABLE, str(told))
    PLAN.checked(Capacity(1, 1))
    assert told.read_text() == "12\n"


def test_nobody_starts_workers_for_a_plan_that_does_not_fit(tmp_path, monkeypatch):
    monkeypatch.setenv(USEFUL_WORKERS_VARIABLE, str(tmp_path / "useful_workers"))
    with pytest.raises(InputError, match=r"up to 2\.00 GB of memory, but a worker has 1\.00 GB"):
        PLAN.checked(Capacity(1, 1, 10**9))
    assert not (tmp_path / "useful_workers").exists()
