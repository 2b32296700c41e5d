"""Trust in stitched tiles: the error of their positions, from overlaps that contradict each other, and a verdict.

Positions that are solved from more overlaps than needed leave residuals, at every loop. With r the residuals of the
e edges that were used, w their weights and n tiles in c components, the variance of an edge of weight 1 is about

    σ² = (Σ w r² + ν σ₀²) / (e − n + c + ν)

along an axis, where σ₀ is the usual one, which counts as much as ν loops. The tiles, whose positions are the least
squares of the edges, err by σ² times the diagonal of the pseudo-inverse of the graph's Laplacian, which random edges
solved in the same way give (parametric bootstrap: B. Efron, R. Tibshirani, An Introduction to the Bootstrap, 1993).
What all overlaps have wrong in the same way leaves no residual; it is taken as `TILE_ERROR_FLOOR`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import csgraph
from scipy.sparse.linalg import splu

from teralign.grids import Floats, FloatTriple
from teralign.trust.assessment import Advice, Assessment, ErrorEstimate, Verdict

TILE_ERROR_FACTOR, TILE_ERROR_FLOOR = 2.0, 0.05
"""The true error lies within this factor of the estimate for four tiles in five; below the floor none is told."""

UNIT_ERROR = 0.3
"""The error in voxels of an edge of weight 1."""

_DRAWS = 64  # solutions of random edges, which give an error to 1/√128 = 9 %
_LOOPS = 4  # ν
_ANCHOR = 1e-6  # of an edge: holds components that nothing else holds


@dataclass(frozen=True)
class Overlaps:
    """The overlaps of tiles by what became of them.

    `confirmed` were used for the solution, `removed` contradict it; the others have no evidence of a shift: there is
    too little `without_content`, or something, which is `not_found` in both tiles. `unreadable` ones were not seen.
    """

    confirmed: int
    removed: int
    not_found: int
    without_content: int
    unreadable: int = 0

    @property
    def examined(self) -> int:
        """The overlaps that show something."""
        return self.confirmed + self.removed + self.not_found


@dataclass(frozen=True)
class StitchingFacts:
    """The facts on which a verdict on stitched tiles rests.

    Of `tiles` that are present and show something, `held` are those that used overlaps hold in the largest component.
    `directions` has for neighbours along z, y and x the overlaps that were confirmed, and all that show something.
    `errors` (n,) µm are those of tiles, empty where no loop tells them; `voxel` is the size of a voxel in µm in the
    plane of the camera. `before` and `after` are the median correlation of the used overlaps, unsolved and solved.
    """

    overlaps: Overlaps
    tiles: int
    held: int
    components: int
    directions: Mapping[str, tuple[int, int]]
    errors: Floats
    voxel: float
    before: float | None
    after: float | None


def position_errors(
    count: int,
    edges: NDArray[np.int64],
    residuals: Floats,
    weights: Floats,
    spacing: FloatTriple,
    *,
    axes: Sequence[int] = (0, 1, 2),
    seed: int = 0,
) -> Floats:
    """Return the estimated error (n,) in µm of each of `count` tiles, NaN where no loop tells it.

    `edges` (e, 2) are numbers of tiles of the used overlaps, `residuals` (e, 3) µm theirs after the solution, and
    `weights` (e, 3) what they count along each axis: 1 for an error of `UNIT_ERROR`, 4 for half of it, 0 where an
    edge does not know its shift. `spacing` is the size of a voxel in µm. Only the `axes` count: tiles of one plane
    have none along z. Errors are those against the other tiles of a component; the same seed gives the same numbers.
    """
    total = np.full(count, (TILE_ERROR_FLOOR * min(spacing)) ** 2)
    for axis in axes:
        size, known = spacing[axis], weights[:, axis] > 0
        rng = np.random.default_rng((seed, axis))
        total += size**2 * _variances(count, edges[known], residuals[known, axis] / size, weights[known, axis], rng)
    errors: Floats = np.sqrt(total)
    return errors


def _variances(
    count: int, edges: NDArray[np.int64], residuals: Floats, weights: Floats, rng: np.random.Generator
) -> Floats:
    """Return the variance (n,) of the tiles' positions along an axis, in voxels², NaN without a loop."""
    unknown = np.full(count, np.nan)
    if len(edges) == 0:
        return unknown
    i, j = edges.T
    graph = sparse.coo_matrix((np.ones(len(i)), (i, j)), shape=(count, count))
    components, labels = csgraph.connected_components(graph, directed=False)
    freedom = len(edges) - count + components
    if freedom < 1:
        return unknown
    variance = (float(weights @ residuals**2) + _LOOPS * UNIT_ERROR**2) / (freedom + _LOOPS)
    diagonal = np.bincount(edges.ravel(), np.repeat(weights, 2), count) + _ANCHOR
    values = np.concatenate([-weights, -weights, diagonal])
    places = (np.concatenate([i, j, np.arange(count)]), np.concatenate([j, i, np.arange(count)]))
    solver = splu(sparse.csc_matrix((values, places), shape=(count, count)), permc_spec="MMD_AT_PLUS_A")
    noise = rng.normal(size=(len(edges), _DRAWS)) * np.sqrt(weights)[:, None]
    push = np.zeros((count, _DRAWS))
    np.add.at(push, j, noise)
    np.add.at(push, i, -noise)
    moved = solver.solve(push)
    sizes = np.bincount(labels)
    means = np.zeros((components, _DRAWS))
    np.add.at(means, labels, moved)
    moved -= (means / sizes[:, None])[labels]
    return np.where(sizes[labels] > 1, variance * np.mean(moved**2, axis=1), np.nan)


def judge_tiles(found: StitchingFacts) -> Assessment:
    """Return the verdict on a stitching, with reasons and advice; thresholds as docs/decisions tells."""
    bad, doubts = _faults(found)
    overlaps = found.overlaps
    estimate = _estimate(found)
    if overlaps.examined == 0:
        verdict, reasons = Verdict.UNKNOWN, ["no overlap shows enough to tell a shift from another"]
    elif bad:
        verdict, reasons = Verdict.BAD, bad + doubts
    elif doubts:
        verdict, reasons = Verdict.DOUBTFUL, doubts
    else:
        verdict, reasons = Verdict.GOOD, []
    told = f"{overlaps.confirmed} of {overlaps.examined} overlaps that show something agree with the positions"
    sentence = f"{verdict.value.capitalize()}: {reasons[0] if reasons else told}."
    shown = [f"{reason[:1].upper()}{reason[1:]}." for reason in reasons]
    return Assessment(
        verdict=verdict,
        sentence=sentence,
        error_um=estimate,
        confirmed=overlaps.confirmed,
        examined=overlaps.examined,
        reasons=shown,
        advice=_advice(found, verdict),
        blocks=(),
    )


_BAD_SHARE, _GOOD_SHARE = 0.4, 0.7  # of the overlaps that show something, confirmed
_BAD_ERROR, _GOOD_ERROR = 3.0, 1.0  # voxels, 95th percentile of the tiles
_GOOD_HELD = 0.97  # of the tiles that show something, in one component
_REMOVED = 0.15  # of the overlaps with evidence
_ENOUGH_TO_TELL = 4  # overlaps in a direction


def _faults(found: StitchingFacts) -> tuple[list[str], list[str]]:
    """Return the reasons for a bad verdict, and those for a doubtful one."""
    overlaps, bad, doubts = found.overlaps, [], []
    share = overlaps.confirmed / max(1, overlaps.examined)
    told = f"only {overlaps.confirmed} of {overlaps.examined} overlaps that show something agree with the positions"
    if share < _BAD_SHARE:
        bad.append(told)
    elif share < _GOOD_SHARE:
        doubts.append(told)
    for axis, (confirmed, examined) in found.directions.items():
        if examined >= _ENOUGH_TO_TELL and confirmed < _BAD_SHARE * examined:
            bad.append(f"only {confirmed} of {examined} overlaps of neighbours along {axis} agree with the positions")
    known = found.errors[np.isfinite(found.errors)]
    p95 = float(np.percentile(known, 95)) / found.voxel if known.size else None
    if p95 is None:
        if overlaps.confirmed:
            doubts.append("no loop of overlaps tells the error of the positions")
    elif p95 > _GOOD_ERROR:
        (bad if p95 > _BAD_ERROR else doubts).append(
            f"the positions of one tile in twenty are off by {p95:.2g} voxels or more"
        )
    with_evidence = overlaps.confirmed + overlaps.removed
    if overlaps.removed > _REMOVED * with_evidence and overlaps.removed > 1:
        doubts.append(f"{overlaps.removed} of {with_evidence} shifts that were found contradict the others")
    if found.held < _GOOD_HELD * found.tiles and share >= _BAD_SHARE:
        apart = found.tiles - found.held
        doubts.append(f"{apart} of {found.tiles} tiles that show something are held by no overlap with the others")
    if found.after is not None and found.before is not None and found.after < found.before - 0.02:
        bad.append(
            f"overlaps are less alike at the solved positions ({found.after:.2f}) than before ({found.before:.2f})"
        )
    return bad, doubts


def _estimate(found: StitchingFacts) -> ErrorEstimate | None:
    known = found.errors[np.isfinite(found.errors)]
    if not known.size:
        return None
    median, p95 = (float(value) for value in np.percentile(known, [50, 95]))
    return ErrorEstimate(median, p95, TILE_ERROR_FACTOR, TILE_ERROR_FLOOR * found.voxel)


def _advice(found: StitchingFacts, verdict: Verdict) -> list[Advice]:
    overlaps = found.overlaps
    if verdict in (Verdict.GOOD, Verdict.UNKNOWN):
        return []
    advice = []
    if overlaps.not_found + overlaps.removed > overlaps.confirmed:
        advice.append(
            Advice(
                "the tiles lie elsewhere than the file says",
                "compare the order, direction and overlap of the tiles with the microscope's: neighbours in the map "
                "must be neighbours in the tissue. Swapped rows and columns, a mirrored camera or a wrong overlap "
                "looks like this.",
            )
        )
    if found.held < _GOOD_HELD * found.tiles and overlaps.confirmed:
        advice.append(
            Advice(
                "some tiles are held by no overlap",
                "look at the tiles that the map marks; those without tissue do no harm, others need more overlap.",
            )
        )
    return advice
