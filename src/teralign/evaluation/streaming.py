"""Measurements over the blocks of a grid of any size, on threads of this process: memory holds a few blocks."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from teralign.grids import Region, Triple

BLOCK: Triple = (128, 128, 128)
"""Voxels of a block by default; blocks of images are multiples of the blocks of their local correlation."""
R = TypeVar("R")


def over_blocks(function: Callable[[Region], R], regions: Iterable[Region], *, threads: int = 1) -> Iterator[R]:
    """Yield `function(region)` for each region, in their order; at most two results a thread wait to be taken."""
    if threads < 2:
        yield from map(function, regions)
        return
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[R]] = deque()
        try:
            for region in regions:
                waiting.append(pool.submit(function, region))
                if len(waiting) >= 2 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
