"""Measurements over the blocks of a grid of any size, wherever they are computed: memory holds a few blocks."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, TypeVar

from teralign.blockwise import WriteUnits
from teralign.grids import Region, Triple

BLOCK: Triple = (128, 128, 128)
"""Voxels of a block by default; blocks of images are multiples of the blocks of their local correlation."""
R = TypeVar("R")


class OverBlocks(Protocol):
    """The place where blocks are computed."""

    @property
    def threads(self) -> int:
        """The threads of this process, for what is not computed in blocks."""
        ...

    def __call__(self, function: Callable[[Region], R], blocks: WriteUnits, stage: str) -> Iterator[R]:
        """Yield the function of each block's voxels, in the order of the blocks; `stage` names the pass over them."""
        ...


@dataclass(frozen=True)
class OnThreads:
    """Blocks are computed on threads of this process; at most two results a thread wait to be taken."""

    threads: int = 1

    def __call__(self, function: Callable[[Region], R], blocks: WriteUnits, stage: str) -> Iterator[R]:
        """Yield the function of each block's voxels, in the order of the blocks."""
        regions = (block.core for block in blocks)
        if self.threads < 2:
            yield from map(function, regions)
            return
        with ThreadPoolExecutor(self.threads) as pool:
            waiting: deque[Future[R]] = deque()
            try:
                for region in regions:
                    waiting.append(pool.submit(function, region))
                    if len(waiting) >= 2 * self.threads:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()
