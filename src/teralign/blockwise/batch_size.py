"""The number of blocks that one Dask task takes.

Dask's scheduler spends some 2 ms of CPU on a task, whatever the task does. Blocks of a tenth of a second on a
thousand workers would need ten thousand tasks a second, twenty times what a scheduler can give. So short blocks go to
workers in batches that take about as long as `task_seconds`. A block that takes longer is a task of its own.
"""

from __future__ import annotations

_SHORTEST_SECONDS = 1.0  # of a task: below it, a worker that ends loses little, and messages cost nothing to speak of
_TASKS_PER_SECOND = 100  # that the scheduler of many workers gets: a fifth of what it can do
_SHARES = 4  # of what is left for each worker: batches become small towards the end, so that no worker ends late
_GROWTH = 4  # at most, from one look to the next
_HELD = 100_000  # blocks that the client and Dask hold at once, a few hundred bytes each


def task_seconds(workers: int) -> float:
    """Return how long a task should take on each of so many workers."""
    return max(_SHORTEST_SECONDS, workers / _TASKS_PER_SECOND)


class BatchSize:
    """The blocks of the next task, from the pace at which blocks have ended; 1 until that is known."""

    def __init__(self, now: float) -> None:
        self._size = 1
        self._ended = 0
        self._since = now

    def ended(self, count: int) -> None:
        """Count blocks that have ended."""
        self._ended += count

    def adapt(self, workers: int, now: float) -> None:
        """Change the size for the pace of so many workers until `now`, in seconds of a clock."""
        if not self._ended or not workers:
            return
        block_seconds = workers * (now - self._since) / self._ended
        wanted = int(task_seconds(workers) / max(block_seconds, 1e-6))
        self._size = max(1, min(wanted, _GROWTH * self._size))
        self._since, self._ended = now, 0

    def of_next(self, left: int, workers: int, tasks: int) -> int:
        """Return the blocks of the next task, of `left` in all, while Dask may hold so many `tasks`."""
        return max(1, min(self._size, left // max(1, _SHARES * workers), _HELD // max(1, tasks)))
