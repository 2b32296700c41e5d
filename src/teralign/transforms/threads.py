"""Compiled loops on threads: they release the GIL.

numba's own threads are not used: its portable layer ends the process when two threads of a worker use it at once.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_PIECES_A_THREAD = 4  # so that a slow piece does not keep the other threads waiting
R = TypeVar("R")


def over_ranges(loop: Callable[[int, int], int], count: int, *, threads: int, min_length: int = 1) -> int:
    """Call `loop(first, last)` on ranges of at least `min_length` that cover 0 … count; return the sum of results."""
    with ThreadPool(threads if count >= 2 * min_length else 1) as pool:
        return sum(pool.over_ranges(loop, count, min_length=min_length))


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

    def run(self, loop: Callable[..., object], count: int, *arguments: object) -> None:
        """Call `loop(first, last, *arguments)` on ranges that cover 0 … count."""
        self.over_ranges(lambda first, last: loop(first, last, *arguments), count)

    def over_ranges(self, loop: Callable[[int, int], R], count: int, *, min_length: int = 1) -> list[R]:
        """Call `loop(first, last)` on ranges of at least `min_length` that cover 0 … count; return its results."""
        pieces = min(_PIECES_A_THREAD * self.threads, count // min_length)
        if self._pool is None or pieces < 2:
            return [loop(0, count)]
        edges = [count * i // pieces for i in range(pieces + 1)]
        return list(self._pool.map(lambda edge: loop(*edge), itertools.pairwise(edges)))
