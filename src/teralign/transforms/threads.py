"""Work over ranges on threads: the compiled loops do not hold the GIL.

Not numba's own threads: its portable layer ends the process when two threads of a worker use it at once.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any


def over_ranges(function: Callable[[int, int], int], count: int, *, threads: int, least: int = 1) -> int:
    """Call `function(first, last)` on ranges that cover 0 … count, and return the sum of what it gives.

    There are a few ranges a thread, so that a slow one does not keep the others waiting, none shorter than `least`.
    """
    pieces = min(4 * threads, count // least) if threads > 1 else 1
    if pieces < 2:
        return function(0, count)
    edges = [count * i // pieces for i in range(pieces + 1)]
    with ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(function, edges[:-1], edges[1:]))


class ThreadPool:
    """Threads that run compiled loops in ranges of their slowest axis, kept between loops."""

    def __init__(self, threads: int) -> None:
        self.threads = max(1, min(threads, os.cpu_count() or 1))
        self._pool = ThreadPoolExecutor(self.threads) if self.threads > 1 else None

    def __enter__(self) -> ThreadPool:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown()

    def run(self, loop: Callable[..., None], count: int, *arguments: Any) -> None:  # noqa: ANN401
        """Call `loop(first, last, *arguments)` on ranges that cover 0 … count."""
        pieces = min(4 * self.threads, count)
        if self._pool is None or pieces < 2:
            loop(0, count, *arguments)
            return
        edges = [count * i // pieces for i in range(pieces + 1)]
        jobs = [self._pool.submit(loop, a, b, *arguments) for a, b in itertools.pairwise(edges)]
        for job in jobs:
            job.result()
