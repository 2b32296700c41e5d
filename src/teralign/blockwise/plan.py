"""Cutting a grid into blocks, and blending the blocks' results.

Along each axis the grid is cut into intervals, the *cores*, which tile it without gap or overlap. A block reads its
core and a halo around it. Between two neighbours the result changes from one block's to the other's over a ramp. The
ramp is centred on the face between their cores, and reaches at most one halo to either side:

    weight  1 ─────────╮           ╭───────────
                         ╲       ╱
                           ╲   ╱
                           ╱   ╲
    weight  0 ───────────╯       ╰─────────────
                    core a │ core b

A block's weight is the product of its ramps along z, y and x. Ramps of one axis never meet, so that the weights of
all blocks sum to one at every position. Where a block is missing, divide by the sum of the remaining weights.
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TypeAlias, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from teralign.grids import Region, Triple, as_triple

_Side: TypeAlias = tuple[int, int]
_SLACK = 0.1  # of a block: a smaller remainder makes no block of its own


@dataclass(frozen=True, order=True)
class Block:
    """One block: its index among the blocks, its core, and the region that it reads (core and halo)."""

    index: Triple
    core: Region
    region: Region

    @property
    def name(self) -> str:
        """The block's name in files and messages, such as z003_y001_x000."""
        return block_name(self.index)


def block_name(index: Triple) -> str:
    """Return the name of the block at `index` (z, y, x) among the blocks."""
    z, y, x = index
    return f"z{z:03d}_y{y:03d}_x{x:03d}"


def block_index(name: str) -> Triple:
    """Return the index (z, y, x) among the blocks of the block with this name."""
    return as_triple(int(part[1:]) for part in name.split("_"))


@dataclass(frozen=True)
class BlockPlan(Sequence[Block]):
    """The blocks of a grid, created on demand: a plan of a million blocks takes no memory.

    `edges` are the faces between cores along (z, y, x), from 0 to the number of voxels. `halo` are the voxels that a
    block reads beyond its core on either side, before the block is cut to the grid.
    """

    edges: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
    halo: Triple

    @property
    def shape(self) -> Triple:
        """Voxels of the grid along (z, y, x)."""
        z, y, x = (e[-1] for e in self.edges)
        return z, y, x

    @property
    def counts(self) -> Triple:
        """Blocks along (z, y, x)."""
        z, y, x = (len(e) - 1 for e in self.edges)
        return z, y, x

    def __len__(self) -> int:
        return math.prod(self.counts)

    def __iter__(self) -> Iterator[Block]:
        for index in itertools.product(*(range(n) for n in self.counts)):
            yield self.block(index)

    @overload
    def __getitem__(self, item: int) -> Block: ...
    @overload
    def __getitem__(self, item: slice) -> Sequence[Block]: ...
    def __getitem__(self, item: int | slice) -> Block | Sequence[Block]:
        if isinstance(item, slice):
            return [self[i] for i in range(*item.indices(len(self)))]
        if not -len(self) <= item < len(self):
            raise IndexError(f"there are {len(self)} blocks, and none numbered {item}")
        z, y, x = (int(i) for i in np.unravel_index(item % len(self), self.counts))
        return self.block((z, y, x))

    def block(self, index: Sequence[int]) -> Block:
        """Return the block at `index` (z, y, x) among the blocks; raises IndexError where there is none."""
        z, y, x = index
        if not all(0 <= i < n for i, n in zip(index, self.counts, strict=True)):
            raise IndexError(f"there are {self.counts} blocks along (z, y, x), and none at {tuple(index)}")
        planes, rows, columns = self._sides
        (z0, z1), (z2, z3) = planes[z]
        (y0, y1), (y2, y3) = rows[y]
        (x0, x1), (x2, x3) = columns[x]
        return Block((z, y, x), Region((z0, y0, x0), (z1, y1, x1)), Region((z2, y2, x2), (z3, y3, x3)))

    def largest(self) -> Block:
        """Return the first of the blocks that read the most voxels."""
        lengths = [[stop - start for _, (start, stop) in sides] for sides in self._sides]
        return self.block([along.index(max(along)) for along in lengths])

    def touching(self, region: Region) -> list[Block]:
        """Return the blocks that read a voxel of `region`, in the order of the plan."""
        ranges = [
            _touching(edges, halo, start, stop)
            for edges, halo, start, stop in zip(self.edges, self.halo, region.start, region.stop, strict=True)
        ]
        return [self.block(index) for index in itertools.product(*ranges)]

    def blend_weights(self, block: Block, positions: Sequence[ArrayLike]) -> NDArray[np.float64]:
        """Return the weights (z, y, x) of `block` on a lattice of voxel `positions`, one rising list per axis.

        Positions may be fractional. Outside the grid, the outermost blocks continue with weight one. Over all blocks
        of the plan the weights sum to one. Integer positions with a weight above zero lie in `block.region`.
        """
        z, y, x = (
            _axis_weights(edges, ramps, i, np.asarray(at, dtype=np.float64))
            for edges, ramps, i, at in zip(self.edges, self._ramps, block.index, positions, strict=True)
        )
        weights: NDArray[np.float64] = z[:, None, None] * y[None, :, None] * x[None, None, :]
        return weights

    @cached_property
    def _sides(self) -> tuple[list[tuple[_Side, _Side]], ...]:
        """The start and stop of each core and of its block, axis by axis."""
        return tuple(
            [((a, b), (max(a - halo, 0), min(b + halo, e[-1]))) for a, b in pairwise(e)]
            for e, halo in zip(self.edges, self.halo, strict=True)
        )

    @cached_property
    def _ramps(self) -> tuple[tuple[float, ...], ...]:
        """Half the width of the ramp at each inner face, in voxels, axis by axis."""
        return tuple(
            tuple(min(float(halo), (b - a) / 2, (c - b) / 2) for a, b, c in zip(e, e[1:], e[2:], strict=False))
            for e, halo in zip(self.edges, self.halo, strict=True)
        )


def plan_blocks(
    shape: Sequence[int],
    block_shape: Sequence[int],
    overlap: float = 0.0,
    multiple: Sequence[int] = (1, 1, 1),
    min_halo: int = 0,
) -> BlockPlan:
    """Cut a grid of `shape` voxels into blocks of about `block_shape`; all arguments are (z, y, x).

    The cores along an axis are nearly equal and start on multiples of `multiple`. A remainder is shared among all
    cores; a remainder below a tenth of a block makes no block of its own. A core is therefore at most a tenth larger
    than `block_shape`, rounded up to a multiple.
    The halo is `overlap` · `block_shape` voxels on either side, at least `min_halo` if there is an overlap, rounded
    to a multiple, and cut to the grid.
    Raises ValueError when a shape is not positive or the overlap lies outside 0 … 1.
    """
    if min(*shape, *block_shape, *multiple) < 1:
        raise ValueError(
            f"blocks need positive sizes, not {tuple(block_shape)} of {tuple(shape)} by {tuple(multiple)}"
        )
    if not 0 <= overlap <= 1:
        raise ValueError(f"the overlap is a share of the block between 0 and 1, not {overlap}")
    z, y, x = (_cut(n, b, m) for n, b, m in zip(shape, block_shape, multiple, strict=True))
    halo = as_triple(
        _whole(max(overlap * b, min_halo if overlap else 0), m) for b, m in zip(block_shape, multiple, strict=True)
    )
    return BlockPlan((z, y, x), halo)


def _whole(halo: float, multiple: int) -> int:
    """Round the halo to multiples, so that nodes counted from a block's start match its neighbours' nodes."""
    return round(halo / multiple) * multiple or round(halo)


def _cut(length: int, size: int, multiple: int) -> tuple[int, ...]:
    """Return the faces of nearly equal intervals; longer ones come last, since the very last may be cut short."""
    units = -(-length // multiple)
    count = max(1, math.ceil(units / max(1, size // multiple) - _SLACK))
    return (*(units * i // count * multiple for i in range(count)), length)


def _touching(edges: Sequence[int], halo: int, start: int, stop: int) -> range:
    """Return the intervals that, grown by `halo`, contain a voxel from `start` up to, not including, `stop`."""
    if stop <= start or stop <= 0 or start >= edges[-1]:
        return range(0)
    first = bisect_right(edges, max(start, 0) - halo) - 1
    last = bisect_left(edges, min(stop, edges[-1]) + halo)
    return range(max(0, first), min(len(edges) - 1, last))


def _axis_weights(
    edges: Sequence[int], ramps: Sequence[float], i: int, positions: NDArray[np.float64]
) -> NDArray[np.float64]:
    weights = np.ones_like(positions)
    if i > 0:
        weights *= _rise(positions, edges[i] - 0.5, ramps[i - 1])
    if i < len(edges) - 2:
        weights *= 1 - _rise(positions, edges[i + 1] - 0.5, ramps[i])
    return weights


def _rise(positions: NDArray[np.float64], centre: float, half_width: float) -> NDArray[np.float64]:
    """Rise smoothly from 0 to 1 around `centre` (3t² − 2t³); a plain step where the width is 0."""
    if half_width == 0:
        return (positions >= centre).astype(np.float64)
    t = np.clip((positions - centre) / (2 * half_width) + 0.5, 0, 1)
    rise: NDArray[np.float64] = t * t * (3 - 2 * t)
    return rise
