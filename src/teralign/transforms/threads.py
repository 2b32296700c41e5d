"""Work over ranges on threads: the compiled loops do not hold the GIL.

Not numba's own threads: its portable layer ends the process when two threads of a worker use it at once.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor


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
