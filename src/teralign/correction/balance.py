"""The brightness of tiles against one another, from what two tiles see of the same place.

An overlap gives matched values: the same quantiles of the same voxels in both tiles, in small blocks, so that
noise and a voxel of misplacement do not count. They are equal once each tile has its gain and offset. Robust least
squares over all overlaps find the logs of the gains, together with what is learnt of bleaching: a loss from tile to
tile in the order of acquisition, and a loss of what an earlier tile has lit already. What opposite edges of all tiles
differ by, as where the flat field is wrong, is learnt as well, so that it passes for neither.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.sparse.linalg import spsolve

from teralign.grids import Floats

_QUANTILES = (0.1, 0.3, 0.5, 0.7, 0.9, 0.97)
_BLOCK = 4  # voxels along y and x: noise and subvoxel shifts average out
_LEAST_BLOCKS = 16
_USUAL_SIDE = 0.05  # spread of the logs of what opposite edges of all tiles differ by
_USUAL_GAIN = 0.1  # spread of the logs of gains: where overlaps disagree, chains of them must not run away
_PRIOR = 0.02  # least weight of a gain of 1 and of an offset of 0, against an overlap
_ROUNDS = 15  # of each kind of weights
_LEAST_TO_LEARN = 8  # overlaps: fewer tell nothing of bleaching
_SCALE = 0.02  # least spread of the logs that counts as disagreement


@dataclass(frozen=True)
class MatchedOverlap:
    """The same quantiles of an overlap in tiles `first` and `second` (indices), counts above the dark level.

    `side` is where the second lies from the first along y and x: −1, 0 or 1.
    """

    first: int
    second: int
    levels: Floats
    others: Floats
    weight: float = 1.0
    side: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Balance:
    """The gain and offset of each tile: balanced = value · gain + offset.

    `loss` is the share of light lost from one tile to the next in the order of acquisition, `lit_loss` that of what
    an earlier tile has lit, 0 where nothing was learnt. `spread_before` and `spread_after` are the median
    disagreement of overlaps in per cent.
    """

    gain: Floats
    offset: Floats
    loss: float
    lit_loss: float
    spread_before: float
    spread_after: float


Views: TypeAlias = tuple[NDArray[np.generic], NDArray[np.generic]]
"""The same voxels (z, y, x) in two tiles, without the dark level."""


def match_overlap(views: Iterable[Views]) -> tuple[Floats, Floats, float] | None:
    """Return matched quantiles of the parts of an overlap, and their weight; None without content.

    Blocks that are 0 or less in either view, or have a NaN, are left out.
    """
    parts = [[_block_means(np.asarray(view, np.float32)).ravel() for view in pair] for pair in views]
    if not parts:
        return None
    blocks = [np.concatenate(own) for own in zip(*parts, strict=True)]
    valid = (blocks[0] > 0) & (blocks[1] > 0)
    if valid.sum() < _LEAST_BLOCKS:
        return None
    a, b = (np.quantile(block[valid], _QUANTILES) for block in blocks)
    if not ((a > 0) & (b > 0)).all():
        return None
    return a.astype(float), b.astype(float), float(min(1.0, valid.sum() / 400))


def _block_means(view: NDArray[np.float32]) -> NDArray[np.float32]:
    y, x = (max(1, min(_BLOCK, n)) for n in view.shape[1:])
    rows, columns = view.shape[1] // y, view.shape[2] // x
    whole = view[:, : rows * y, : columns * x].reshape(-1, rows, y, columns, x)
    return np.asarray(whole.mean(axis=(2, 4)), np.float32)


def balance_tiles(
    matches: Sequence[MatchedOverlap], tiles: int, orders: Sequence[int | None], *, with_offset: bool = False
) -> Balance:
    """Find gain and offset of `tiles` tiles from their overlaps; a tile without any keeps 1 and 0.

    `orders` are the times of acquisition, None where unknown; without all of them no bleaching is learnt. The gains
    of tiles that hang together have the geometric mean 1.
    """
    seen = np.zeros(tiles, bool)
    for match in matches:
        seen[[match.first, match.second]] = True
    if not matches:
        return Balance(np.ones(tiles), np.zeros(tiles), 0.0, 0.0, 0.0, 0.0)
    time = _times(orders) if len(matches) >= _LEAST_TO_LEARN else None
    system = _System(matches, tiles, time, with_offset=with_offset)
    found = system.solve()
    logs = found[:tiles]
    loss = lit = 0.0
    if time is not None:
        slope, lit_log = found[-2:]
        logs = logs + slope * time
        span = max(int(np.ptp([order for order in orders if order is not None])), 1)
        loss, lit = 1 - float(np.exp(-slope / span)), 1 - float(np.exp(-lit_log))
    logs = np.where(seen, logs - _component_means(matches, logs), 0.0)
    offset = found[tiles : 2 * tiles] * system.unit if with_offset else np.zeros(tiles)
    return Balance(
        gain=np.exp(logs),
        offset=np.where(seen, offset, 0.0),
        loss=loss,
        lit_loss=lit,
        spread_before=100 * float(np.median(np.abs(system.ratios))),
        spread_after=100 * float(np.median(np.abs(system.residuals(found)))),
    )


def _times(orders: Sequence[int | None]) -> Floats | None:
    """Return the times of acquisition from −½ to ½, None where they are not all known or all the same."""
    known = np.array([order for order in orders if order is not None], float)
    if len(known) < len(orders) or len(known) < 3 or np.ptp(known) == 0:
        return None
    time: Floats = (known - known.min()) / np.ptp(known) - 0.5
    return time


def _component_means(matches: Sequence[MatchedOverlap], logs: Floats) -> Floats:
    """Return for each tile the mean log gain of the tiles that hang together with it."""
    first, second = (np.array([getattr(match, name) for match in matches]) for name in ("first", "second"))
    links = sparse.coo_array((np.ones(len(first)), (first, second)), shape=(len(logs), len(logs)))
    count, labels = sparse.csgraph.connected_components(links, directed=False)
    means: Floats = np.asarray(ndimage.mean(logs, labels, np.arange(count)), float)[labels]
    return means


class _System:
    """The equations: a row for each quantile of each overlap, log(first · gain + offset) = log(second · …).

    The unknowns are the log gains, the offsets in units of `unit` if they are free, and, with `time`, the logs of
    what opposite edges differ by along y and x, of what bleaching takes over the whole scan, and of what an earlier
    light takes.
    """

    def __init__(
        self, matches: Sequence[MatchedOverlap], tiles: int, time: Floats | None, *, with_offset: bool
    ) -> None:
        """Prepare the rows."""
        levels = np.array([match.levels for match in matches])
        others = np.array([match.others for match in matches])
        count = levels.shape[1]
        first = np.repeat([match.first for match in matches], count)
        second = np.repeat([match.second for match in matches], count)
        self.unit, self._tiles = float(np.median(levels)), tiles
        self.ratios = np.log(others / levels).ravel()
        self._weights = np.repeat([match.weight / count for match in matches], count)
        rows = np.arange(len(first))
        columns, values = [first, second], [np.ones(len(rows)), -np.ones(len(rows))]
        if with_offset:
            columns += [tiles + first, tiles + second]
            values += [self.unit / levels.ravel(), -self.unit / others.ravel()]
        self._unknowns = tiles * (1 + with_offset) + (0 if time is None else 4)
        if time is not None:
            later = np.sign(time[second] - time[first])
            sides = np.repeat([match.side for match in matches], count, axis=0)
            columns += [np.full(len(rows), self._unknowns - n) for n in (4, 3, 2, 1)]
            values += [*sides.T.astype(float), time[first] - time[second], -later]
        self._matrix = sparse.csr_array(
            (np.concatenate(values), (np.tile(rows, len(columns)), np.concatenate(columns))),
            shape=(len(rows), self._unknowns),
        )
        self._prior, self._learns = np.full(self._unknowns, _PRIOR), time is not None
        if time is not None:
            self._prior[-2:] = 1e-6

    def residuals(self, found: Floats) -> Floats:
        """Return what is left of the log ratios."""
        left: Floats = self.ratios - self._matrix @ found
        return left

    def solve(self) -> Floats:
        """Return the unknowns as the overlaps have them, and gains held to 1 by as much as these disagree."""
        free = self._reweighted(0.0)
        return self._reweighted(1.4826 * float(np.median(np.abs(self.residuals(free)))))

    def _reweighted(self, spread: float) -> Floats:
        """Return the unknowns by least squares reweighted against overlaps that disagree, which do so by `spread`.

        Weights of Huber come first, since they have one minimum, and then those of Cauchy, which let go.
        """
        prior = self._prior**2
        prior[: self._tiles] += (spread / _USUAL_GAIN) ** 2
        if self._learns:
            prior[-4:-2] += (spread / _USUAL_SIDE) ** 2
        found, weights = np.zeros(self._unknowns), self._weights
        for n in range(2 * _ROUNDS):
            scaled = self._matrix.multiply(weights[:, None]).tocsr()
            normal = sparse.csc_array(scaled.T @ self._matrix + sparse.diags_array(prior))
            before, found = found, np.atleast_1d(spsolve(normal, scaled.T @ self.ratios))
            if n > _ROUNDS and np.abs(found - before).max() < 1e-5:
                break
            left = np.abs(self.residuals(found))
            scale = max(1.4826 * float(np.median(left)), _SCALE)
            if n < _ROUNDS:
                weights = self._weights * scale / np.maximum(left, scale)
            else:
                weights = self._weights / (1 + (left / (2 * scale)) ** 2)
        return found
