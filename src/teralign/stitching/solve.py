"""Positions of all tiles from the shifts between pairs, by robust weighted least squares with the stage as prior.

With x the displacements from the stage's positions, along each axis

    minimise  Σ_edges w · ρ · (x_j − x_i − s)² + Σ_tiles (x − x̂)² / τ²,

where s is the shift of an edge, w the inverse of its variance, ρ the weight of Geman and McClure of its length in all
axes, and x̂, τ the stage's error as it is learnt from the tiles that edges hold (`stage_errors`). The scale of ρ
begins at the length of the worst edges and falls until it is that of good ones (graduated non-convexity: H. Yang,
P. Antonante, V. Tzoumas, L. Carlone, IEEE Robotics and Automation Letters 5, 2020), so that wrong edges lose their
weight before they bend the rest. ShiftEdges that end with less than a tenth are removed, and the others
solved again. No loop says whether an edge is right that alone connects two groups of tiles: it is removed if it moves
them further against the stage than the stage's errors reach.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph
from scipy.sparse.linalg import SuperLU, splu

from teralign.grids import Bools, Floats
from teralign.stitching.stage_errors import LearntErrors, Regressors, TileNumbers, learn_errors, nothing_learnt

REMOVED = 0.1  # weight ρ below which an edge is wrong: 2.2 scales off
SCALE = 0.7  # voxels: the length at which ρ is ¼ when the graduation ends
FALL = 1.6  # of the scale from one round to the next
_LEAST_SPREAD = 0.25  # voxels
_TORN = 6.0  # times the usual error of the stage: two tiles with errors cut at two deviations differ by four
_LEAST_USUAL = 0.5  # voxels
_AGAINST = 1.5  # deviations of a chance error by which what is learnt may be wrong, and yet bring no tile further off


@dataclass(frozen=True)
class ShiftEdges:
    """Pairs of tiles (e, 2), what is added to moving − fixed (e, 3) voxels, and its standard error (e, 3) voxels."""

    tiles: TileNumbers
    shifts: Floats
    errors: Floats


@dataclass(frozen=True)
class Solved:
    """Displacements from the stage (n, 3), the edges used (e,), residuals (e, 3), components (n,), x̂ (n, 3), τ (3,).

    Lengths are voxels. Component 0 has the most tiles; tiles without edges are components of their own.
    """

    displacements: Floats
    used: Bools
    residuals: Floats
    components: TileNumbers
    predicted: Floats
    spread: Floats

    @property
    def held(self) -> Bools:
        """The tiles that an edge holds (n,)."""
        sizes = np.bincount(self.components)
        held: Bools = sizes[self.components] > 1
        return held


def solve_positions(edges: ShiftEdges, regressors: Regressors) -> Solved:
    """Return the displacements that agree best with the edges, for as many tiles as `regressors` has rows."""
    count = len(regressors.columns)
    weights = 1.0 / np.maximum(edges.errors, 1e-3) ** 2
    weights[~np.isfinite(weights)] = 0
    learnt = [nothing_learnt(count)] * 3
    rho = np.ones(len(weights))
    x, residuals = _step(edges, weights, rho, learnt)
    lengths = _lengths(residuals, weights)
    scale = max(SCALE, float(lengths.max(initial=0)))
    while True:
        rho = (scale**2 / (scale**2 + lengths**2)) ** 2
        x, residuals = _step(edges, weights, rho, learnt)
        lengths = _lengths(residuals, weights)
        used = (scale**2 / (scale**2 + lengths**2)) ** 2 > REMOVED
        components = components_of(edges.tiles[used], count)
        learnt = _learn(regressors, x, components)
        if scale <= SCALE:
            break
        scale = max(SCALE, scale / FALL)
    used &= ~_wrong_bridges(edges, used, x, learnt)
    components = components_of(edges.tiles[used], count)
    for _ in range(3):
        rho = np.where(used, 1 / (1 + (lengths / SCALE) ** 2), 0)
        x, residuals = _step(edges, weights, rho, learnt)
        lengths = _lengths(residuals, weights)
        learnt = _learn(regressors, x, components)
    predicted = np.stack([axis.predicted for axis in learnt], axis=1)
    main = components == 0
    x[~main] += np.median((x - predicted)[main], axis=0)  # the zero of tiles that stay: the middle, not the mean
    alone = np.bincount(components)[components] == 1
    doubts = np.stack([axis.doubt for axis in learnt], axis=1)
    x[alone] = _harmless(x[alone], np.median(x[main], axis=0), doubts[alone])
    return Solved(
        displacements=x,
        used=used,
        residuals=residuals,
        components=components,
        predicted=predicted,
        spread=np.array([axis.spread for axis in learnt]),
    )


def _step(edges: ShiftEdges, weights: Floats, rho: Floats, learnt: list[LearntErrors]) -> tuple[Floats, Floats]:
    """Solve the least squares of given weights; return the displacements and the residuals of all edges."""
    i, j = edges.tiles.T
    count = len(learnt[0].predicted)
    x = np.empty((count, 3))
    for axis, prior in enumerate(learnt):
        w = weights[:, axis] * rho
        pull = 1 / prior.spread**2
        diagonal = np.bincount(i, w, count) + np.bincount(j, w, count) + pull
        rows, columns = np.concatenate([i, j, np.arange(count)]), np.concatenate([j, i, np.arange(count)])
        matrix = sparse.csc_matrix((np.concatenate([-w, -w, diagonal]), (rows, columns)), shape=(count, count))
        push = w * edges.shifts[:, axis]
        right = np.bincount(j, push, count) - np.bincount(i, push, count) + pull * prior.predicted
        x[:, axis] = factorised(matrix).solve(right)
    return x, x[j] - x[i] - edges.shifts


def factorised(matrix: sparse.csc_matrix) -> SuperLU:
    """Return the factors of a symmetric positive definite matrix (n, n).

    Its diagonal is taken as it comes: pivots from elsewhere, which it does not need, undo the order that keeps the
    factors sparse, and take a hundred times as long for 1600 tiles with matrices.
    """
    return splu(matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})


def _harmless(x: Floats, stage: Floats, doubts: Floats) -> Floats:
    """Return displacements x (n, 3) of tiles without edges, no further from `stage` (3,), which stays, than is safe.

    `doubts` (n, 3) are the standard errors of x. A tile that is learnt to lie a way of length L off, with a standard
    error t along the way, and that is moved by f L, comes to lie further off if its chance error exceeds L (1 − f/2)
    against the way. So f is chosen for _AGAINST · t to be that: all of the way is gone from twice that length on,
    nothing within it.
    """
    way = x - stage
    lengths = np.maximum(np.linalg.norm(way, axis=1, keepdims=True), 1e-9)
    doubt = np.linalg.norm(way / lengths * doubts, axis=1, keepdims=True)
    safe: Floats = stage + way * np.clip(2 - 2 * _AGAINST * doubt / lengths, 0, 1)
    return safe


def _wrong_bridges(edges: ShiftEdges, used: Bools, x: Floats, learnt: list[LearntErrors]) -> Bools:
    """Return the used edges (e,) without which their tiles are not connected, and which tear them from the stage."""
    wrong = np.zeros(len(used), bool)
    if not used.any():
        return wrong
    rest = x - np.stack([axis.predicted for axis in learnt], axis=1)
    i, j = edges.tiles.T
    held = np.unique(edges.tiles[used])
    centre = np.median(rest[held], axis=0)
    usual = np.maximum(_LEAST_USUAL, 1.4826 * np.median(np.abs(rest[held] - centre), axis=0))
    # the median of few tiles may be small by chance; their spread has wrong edges in it, and counts up to twice that
    usual = np.clip([axis.spread for axis in learnt], usual, 2 * usual)
    torn = np.max(np.abs(rest[j] - rest[i]) / usual, axis=1)
    for edge in sorted(np.flatnonzero(used & (torn > _TORN)), key=lambda e: -torn[e]):
        without = used & ~wrong
        without[edge] = False
        components = components_of(edges.tiles[without], len(x))
        wrong[edge] = components[i[edge]] != components[j[edge]]
    return wrong


def _lengths(residuals: Floats, weights: Floats) -> Floats:
    """Return the length (e,) of each residual in voxels, over the axes that the edge measures."""
    lengths: Floats = np.linalg.norm(np.where(weights > 0, residuals, 0), axis=1)
    return lengths


def components_of(edges: TileNumbers, count: int) -> TileNumbers:
    """Return the number of each tile's group by `edges` (e, 2), the largest first, equals by their first tile."""
    i, j = edges.T
    graph = sparse.coo_matrix((np.ones(len(i)), (i, j)), shape=(count, count))
    _, labels = csgraph.connected_components(graph, directed=False)
    sizes = np.bincount(labels)
    first = np.full(len(sizes), count)
    np.minimum.at(first, labels, np.arange(count))
    rank = np.empty(len(sizes), np.int64)
    rank[np.lexsort((first, -sizes))] = np.arange(len(sizes))
    numbers: TileNumbers = rank[labels]
    return numbers


def _learn(regressors: Regressors, x: Floats, components: TileNumbers) -> list[LearntErrors]:
    known = np.bincount(components)[components] > 1
    if not known.any():
        return [nothing_learnt(len(x))] * 3
    return [learn_errors(regressors, x[:, axis], known, components, _LEAST_SPREAD) for axis in range(3)]
