"""Short blocks share tasks, so that a scheduler can serve many workers; long ones do not."""

from __future__ import annotations

import pytest

from teralign.blockwise.batch_size import BatchSize


def size_after(blocks_a_second: float, workers: int, *, looks: int = 20, left: int = 10**6) -> int:
    size = BatchSize(0.0)
    for look in range(1, looks + 1):
        size.ended(round(2 * blocks_a_second))
        size.adapt(workers, 2.0 * look)
    return size.of_next(left, workers, 3 * workers)


def test_long_blocks_have_tasks_of_their_own():
    assert size_after(blocks_a_second=100, workers=1000) == 1  # 10 s each
    assert size_after(blocks_a_second=1, workers=2) == 1


@pytest.mark.parametrize("workers", [1, 20, 200, 1000])
def test_tasks_of_short_blocks_are_no_more_than_a_scheduler_can_serve(workers):
    block_seconds = 0.25
    size = size_after(blocks_a_second=workers / block_seconds, workers=workers)
    assert workers / (size * block_seconds) <= 130


def test_before_anything_has_ended_a_task_has_one_block():
    assert BatchSize(0.0).of_next(10**6, 10, 30) == 1


def test_the_size_grows_by_steps_and_shrinks_at_once():
    size = BatchSize(0.0)
    size.ended(2000)
    size.adapt(1, 2.0)
    assert size.of_next(10**6, 1, 3) == 4
    size.ended(1)
    size.adapt(1, 4.0)
    assert size.of_next(10**6, 1, 3) == 1


def test_the_last_blocks_are_shared_by_all_workers():
    assert size_after(blocks_a_second=1000, workers=10, left=400) == 10
    assert size_after(blocks_a_second=1000, workers=10, left=3) == 1


def test_what_is_held_at_once_is_bounded():
    assert 3 * 1000 * size_after(blocks_a_second=10**5, workers=1000, left=10**7) <= 100_000
