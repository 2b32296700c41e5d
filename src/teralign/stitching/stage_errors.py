"""The errors of a stage that repeat, learnt from the tiles whose error is known, for those whose error is not.

The error of a tile along an axis is taken as

    x = μ + Z θ + r,    θ ~ N(0, Λ),  r ~ N(0, τ²),

with the columns of Z in groups that share a variance: a line in the position along z, y and x (rotation, length of
the step, shear), a line in the time (drift), odd rows against even ones (backlash), one value a row, one a column,
and one a layer. The variances Λ and τ² are those under which the known errors are most likely (expectation
maximisation), so that few tiles teach little. A group is taken only if it raises the logarithm of that likelihood
enough, the best first: otherwise eight groups explain the chance errors of few tiles, and the prediction is worse
than the stage.

This is a mixed model: C. R. Henderson, Best linear unbiased estimation and prediction under a selection model,
Biometrics 31 (1975); A. P. Dempster, N. M. Laird, D. B. Rubin, Maximum likelihood from incomplete data via the EM
algorithm, JRSS B 39 (1977).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from teralign.grids import Bools, Floats

TileNumbers = NDArray[np.int64]

_ROUNDS = 60  # of expectation maximisation
_LEAST_GAIN = 3.0  # of the log likelihood: a group of chance errors gains less in 99 of 100 cases
_FIRST_SPREAD = 10.0  # voxels: τ where nothing is learnt
_LEAST_KNOWN = 5  # tiles with a known error below which nothing is learnt


@dataclass(frozen=True)
class Regressors:
    """The columns of Z (tiles, k) and the group of each (k,)."""

    columns: Floats
    groups: TileNumbers

    @classmethod
    def of(cls, positions: Floats, index: TileNumbers, order: Floats | None) -> Regressors:
        """Return the columns of tiles at `positions` (n, 3) with `index` (n, 3): layer, row and column.

        `order` (n,) is the time of acquisition, where it is known.
        """
        lines = [_unit(positions[:, axis]) for axis in range(3)]
        if order is not None:
            lines.append(_unit(order))
        parts: list[Floats] = [line[:, None] for line in lines]
        parts.append((0.5 - index[:, 1] % 2)[:, None].astype(np.float64))
        for axis in (1, 2, 0):
            values, place = np.unique(index[:, axis], return_inverse=True)
            if len(values) > 1:
                parts.append(np.eye(len(values))[place])
        groups = np.concatenate([np.full(part.shape[1], number) for number, part in enumerate(parts)])
        return cls(np.concatenate(parts, axis=1), groups)


@dataclass(frozen=True)
class LearntErrors:
    """The predicted error of every tile (n,) along an axis, τ, the spread of the true ones around it, and the doubt.

    The `doubt` (n,) is the standard error of the prediction for a tile whose error is not known: τ, and what the
    known ones leave open.
    """

    predicted: Floats
    spread: float
    doubt: Floats


def nothing_learnt(count: int) -> LearntErrors:
    """Return what holds before anything is known: no error is predicted, and any may be."""
    return LearntErrors(np.zeros(count), _FIRST_SPREAD, np.full(count, _FIRST_SPREAD))


def learn_errors(
    regressors: Regressors, errors: Floats, known: Bools, components: TileNumbers, floor: float
) -> LearntErrors:
    """Learn from the errors (n,) of the `known` tiles (n,) and predict those of all, relative to the same zero.

    Only differences within one of the `components` (n,) are known, so each has a μ of its own; the zero of the
    prediction is that of the largest. τ is at least `floor`.
    """
    if known.sum() < _LEAST_KNOWN:
        return nothing_learnt(len(errors))
    y = errors[known]
    names, place, counts = np.unique(components[known], return_inverse=True, return_counts=True)
    means = np.eye(len(names))[place]
    z = regressors.columns[known]
    z = z - means @ (means.T @ z / counts[:, None])  # μ of each component, taken out
    y = y - means @ (means.T @ y / counts)
    freedom = max(1, len(y) - len(names))
    sample = _Sample(z.T @ z, z.T @ y, float(y @ y), freedom, floor**2)
    fit = _select(sample, regressors.groups)
    main = int(np.argmax(counts))
    inside = place == main
    predicted = regressors.columns @ fit.theta * _trust(fit, z, y, (1 / counts)[place])
    offset = float(np.mean(errors[known][inside] - predicted[known][inside]))
    columns = regressors.columns - means.T[main] @ regressors.columns[known] / counts[main]
    variance = fit.noise * (1 + 1 / counts[main]) + np.sum(columns @ fit.covariance * columns, axis=1)
    return LearntErrors(predicted + offset, float(np.sqrt(fit.noise)), np.sqrt(variance))


@dataclass(frozen=True)
class _Sample:
    """The sums ZᵀZ, Zᵀy and yᵀy of the known errors, their degrees of freedom, and the least τ²."""

    gram: Floats
    right: Floats
    square: float
    freedom: int
    floor: float


@dataclass(frozen=True)
class _ErrorFit:
    """θ (k,), its covariance (k, k), τ², and the logarithm of the likelihood."""

    theta: Floats
    covariance: Floats
    noise: float
    likelihood: float


def _trust(fit: _ErrorFit, z: Floats, y: Floats, shares: Floats) -> float:
    """Return the factor 0 … 1 of the prediction with which it is best for tiles that it was not learnt from.

    It is the slope of the errors y (n,) over their predictions from all other tiles, less its standard error:
    L. Breiman, Stacked regressions, Machine Learning 24 (1996). `shares` (n,) are those of a tile in its mean.
    """
    leverage = np.sum(z @ fit.covariance * z, axis=1) / fit.noise + shares
    left_out = y - (y - z @ fit.theta) / np.maximum(1 - leverage, 0.05)
    square = float(left_out @ left_out)
    if square <= 0:
        return 0.0
    slope = float(y @ left_out) / square
    rest = y - slope * left_out
    error = float(np.sqrt(rest @ rest / max(1, len(y) - 1) / square))
    return min(1.0, max(0.0, slope - error))


def _select(sample: _Sample, groups: TileNumbers) -> _ErrorFit:
    """Fit the groups of columns that are worth it, added one by one."""
    noise = max(sample.floor, sample.square / sample.freedom)
    none = np.zeros((len(groups), len(groups)))
    best = _ErrorFit(none[0], none, noise, -0.5 * sample.freedom * (np.log(noise) + 1))
    taken: list[int] = []
    left = set(range(int(groups.max()) + 1))
    while left:
        fits = {group: _fit(sample, groups, [*taken, group]) for group in sorted(left)}
        group = max(fits, key=lambda g: fits[g].likelihood)
        if fits[group].likelihood < best.likelihood + _LEAST_GAIN:
            break
        best = fits[group]
        taken.append(group)
        left.remove(group)
    return best


def _fit(sample: _Sample, groups: TileNumbers, taken: list[int]) -> _ErrorFit:
    """Fit the columns of the groups `taken`; those of the others have θ = 0."""
    chosen = np.flatnonzero(np.isin(groups, taken))
    own = np.searchsorted(np.sort(taken), groups[chosen])
    sizes = np.bincount(own).astype(np.float64)
    gram, right = sample.gram[np.ix_(chosen, chosen)], sample.right[chosen]
    noise = max(sample.floor, sample.square / sample.freedom)
    scale = max(1e-12, float(np.trace(gram)) / len(chosen) / sample.freedom)  # of the columns' squares
    variances = np.full(len(sizes), noise / scale / 2)
    for _ in range(_ROUNDS):
        covariance = np.linalg.inv(gram / noise + np.diag(1 / variances[own]))
        theta: Floats = covariance @ right / noise
        variances = np.asarray(np.bincount(own, theta**2 + np.diag(covariance)) / sizes, dtype=np.float64)
        rest = sample.square - 2 * theta @ right + theta @ gram @ theta
        noise = max(sample.floor, (float(rest) + float(np.sum(covariance * gram))) / sample.freedom)
    precision = gram / noise + np.diag(1 / variances[own])
    theta = np.asarray(np.linalg.solve(precision, right / noise))
    spent = float(np.linalg.slogdet(precision)[1] + np.sum(sizes * np.log(variances)))
    misfit = (sample.square - float(theta @ right)) / noise
    whole, variance = np.zeros(len(groups)), np.zeros((len(groups), len(groups)))
    whole[chosen] = theta
    variance[np.ix_(chosen, chosen)] = np.linalg.inv(precision)
    return _ErrorFit(whole, variance, noise, -0.5 * (sample.freedom * np.log(noise) + spent + misfit))


def _unit(values: Floats) -> Floats:
    """Return values moved and scaled to the range −½ … ½."""
    span = float(np.ptp(values))
    scaled: Floats = (values - (values.max() + values.min()) / 2) / span if span > 0 else np.zeros(len(values))
    return scaled
