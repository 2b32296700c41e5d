"""A smooth gain and a dark level from planes, by differences between blocks of the same plane.

Tissue lies anywhere in a plane, the shading of the microscope is the same in every plane. So the logarithms of two
blocks of one plane differ by the difference of the log gain, plus a difference of tissue, which is symmetric about 0
with a sharp peak where both blocks show the same (Weiss, ICCV 2001, for neighbouring pixels). Neither the brightness
of a plane nor bleaching enters, nor that there is more tissue in the middle of the planes than at their edges. The
distribution of these differences is learnt from the data, by distance and brightness, and the gain found by its score
function (an adaptive estimator, Stone, Annals of Statistics 1975), so that the pairs that tell much count most.

The log gain is a sum of Legendre polynomials. Their prior variance by degree is that under which the planes are most
likely (empirical Bayes), with the covariance over planes as noise: few planes give few terms by themselves. A wrong
dark level shifts dim pairs against bright ones wherever the gain differs; so it is one more unknown.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.polynomial import legendre
from numpy.typing import NDArray
from scipy import ndimage

from teralign.grids import Bools, Floats

DEGREE = 8
_DISTANCES = (1 / 16, 1 / 8, 1 / 4)  # of pairs, in planes: near ones share tissue, far ones differ in gain
_CLASSES = 2  # of brightness, each with its own distribution of differences; more cut the noise of dim ones apart
_BANDWIDTH = 0.05  # of the distributions, in the logarithm
_DIMMEST = 4.0  # pairs below so many standard deviations of the noise tell nothing but noise
_SAMPLES = 60_000  # differences from which a distribution is learnt
_ROUNDS = 40
_CONVERGED = 1e-3  # change of a coefficient
_LARGEST_STEP = 0.3  # of the dark level, in units of the spread of the blocks
_SIGMAS = (0.003, 0.01, 0.03, 0.1, 0.3)  # prior: standard deviation of a term of degree 1
_DECAYS = (0.1, 0.2, 0.35, 0.6)  # and its decay from degree to degree


@dataclass(frozen=True)
class ShadingFit:
    """The log gain as coefficients of Legendre polynomials, the dark level, and the errors of both.

    `error` is the standard deviation of the gain, as a share of it; `dark_error` that of the dark level in counts, 0
    where it was given.
    """

    coefficients: Floats
    dark: float
    error: float
    dark_error: float

    def gain(self, shape: tuple[int, int]) -> Floats:
        """Return the gain (y, x) of mean 1 for planes of this shape."""
        gain = np.exp(polynomials(shape) @ self.coefficients).reshape(shape)
        scaled: Floats = gain / gain.mean()
        return scaled


def fit_shading(blocks: NDArray[np.float32], noise: float, dark: float | None, least: float = 0.0) -> ShadingFit:
    """Fit gain and dark level to the means of blocks (planes, y, x), NaN for blocks to leave out.

    `noise` is the standard deviation of a dim block in counts; `dark` the dark level, None to find it. Pairs
    of which one is dimmer than `least`, in counts of even light above the dark level, are left out.
    """
    pairs = _Pairs(blocks, noise, least)
    terms = len(pairs.degrees)
    found = np.append(np.zeros(terms), pairs.lowest if dark is None else dark)
    for n in itertools.count():
        step, covariance = pairs.step(found, with_dark=dark is None and n > 0)
        change = pairs.shrunk(found, step, covariance) - found
        found += 0.8 * change
        change[terms] /= 5 * pairs.scale
        if n == _ROUNDS or (n > 1 and np.abs(change).max() < _CONVERGED):
            break
    errors = np.sqrt(np.diag(covariance))
    error = float(np.sqrt((errors[:terms] ** 2).sum()))
    return ShadingFit(found[:terms], float(found[terms]), error, float(errors[terms]))


def _orders() -> list[tuple[int, int]]:
    """Return the degrees (y, x) of the polynomials, without the constant."""
    return [(i, j) for i in range(DEGREE + 1) for j in range(DEGREE + 1 - i) if i + j]


def polynomials(shape: tuple[int, int]) -> Floats:
    """Return the polynomials at the centres of cells (y·x, terms), each of mean square 1 over the plane."""
    along = [legendre.legvander((np.arange(n) + 0.5) / n * 2 - 1, DEGREE) for n in shape]
    rows, columns = (values * np.sqrt(2 * np.arange(DEGREE + 1) + 1) for values in along)
    return np.stack([np.outer(rows[:, i], columns[:, j]).ravel() for i, j in _orders()], axis=1)


class _Pairs:
    """Pairs of blocks of the same plane at several distances along y and x.

    `degrees` are those of the terms; `lowest` is a level that few blocks are below, so that no dark level is above
    it, and `scale` the height of dim blocks above it, both in counts.
    """

    def __init__(self, blocks: NDArray[np.float32], noise: float, least: float) -> None:
        """Prepare the pairs of blocks (planes, y, x), NaN for those to leave out."""
        self._least = least
        planes, *shape = blocks.shape
        self._blocks, self._noise = blocks.reshape(planes, -1), noise
        self._terms = polynomials((shape[0], shape[1]))
        self.degrees = np.array(_orders()).sum(axis=1)
        index = np.arange(shape[0] * shape[1]).reshape(shape)
        self._pairs = []
        for distance in _DISTANCES:
            y, x = (max(1, round(distance * n)) for n in shape)
            first = np.concatenate([index[y:].ravel(), index[:, x:].ravel()])
            self._pairs.append((first, np.concatenate([index[:-y].ravel(), index[:, :-x].ravel()])))
        low, dim = np.nanpercentile(self._blocks, (0.5, 25))
        self.lowest, self.scale = float(low), float(max(dim - low, noise))

    def step(self, found: Floats, *, with_dark: bool) -> tuple[Floats, Floats]:
        """Return the Gauss-Newton step from `found` (terms and dark level), and its covariance over the planes."""
        terms, planes = len(self.degrees), len(self._blocks)
        inverse = np.exp(-self._terms @ found[:terms]).astype(np.float32)
        tissue = np.maximum(self._blocks - np.float32(found[terms]), np.float32(self._noise / 2)) * inverse
        logs = np.log(tissue)
        scores = np.zeros((planes, terms + 1))
        hessian = np.zeros((terms + 1, terms + 1))
        hessian[terms, terms] = 0 if with_dark else 1
        for first, second in self._pairs:
            level = np.exp((logs[:, first] + logs[:, second]) / 2)
            floor = _DIMMEST * self._noise * np.maximum(inverse[first], inverse[second])
            used = (level > floor) & (np.minimum(tissue[:, first], tissue[:, second]) > self._least)
            score, information = _score(logs[:, first] - logs[:, second], level, used)
            slopes = self._terms[first] - self._terms[second]
            scores[:, :terms] += score @ slopes
            hessian[:terms, :terms] += (slopes * information.sum(axis=0)[:, None]).T @ slopes
            if with_dark:  # the log of (raw − dark) / gain falls by 1 / (gain · tissue) for a count more of dark
                fall = np.nan_to_num((inverse[first] - inverse[second]) / level)
                scores[:, terms] += (score * fall).sum(axis=1)
                cross = slopes.T @ (information * fall).sum(axis=0)
                hessian[:terms, terms] += cross
                hessian[terms, :terms] += cross
                hessian[terms, terms] += float((information * fall * fall).sum())
        each = np.linalg.lstsq(hessian, scores.T, rcond=1e-12)[0].T * planes
        step = each.mean(axis=0)
        return step, self._covariance(each - step) / planes

    def _covariance(self, each: Floats) -> Floats:
        """Return the covariance of the estimates of single planes, as if tissue had no direction.

        Each plane counts in its eight turned and mirrored copies, so that few planes suffice for many terms.
        """
        orders = _orders()
        turned = [orders.index((j, i)) for i, j in orders] + [len(orders)]
        signs = [np.array([(-1) ** order[axis] for order in orders] + [1]) for axis in range(2)]
        total = np.zeros((each.shape[1], each.shape[1]))
        for copy in (each, each[:, turned]):
            for y, x in itertools.product((0, 1), repeat=2):
                mirrored = copy * signs[0] ** y * signs[1] ** x
                total += mirrored.T @ mirrored
        return total / (8 * len(each))

    def shrunk(self, found: Floats, step: Floats, covariance: Floats) -> Floats:
        """Return the most probable terms and dark level after a step, under the most likely of the priors."""
        terms = len(self.degrees)
        target = found + step
        noise, wanted = covariance[:terms, :terms], target[:terms]
        best = -np.inf
        weights: Floats = wanted
        prior: Floats = np.ones(terms)
        for sigma, decay in itertools.product(_SIGMAS, _DECAYS):
            variances: Floats = sigma**2 * decay ** (2.0 * (self.degrees - 1))
            whole = noise + np.diag(variances)
            solved = np.linalg.solve(whole, wanted)
            likelihood = -np.linalg.slogdet(whole)[1] - wanted @ solved
            if likelihood > best:
                best, weights, prior = float(likelihood), solved.astype(float), variances
        target[:terms] = prior * weights
        moved = step[terms] - covariance[terms, :terms] @ weights  # the dark level follows the terms
        moved = np.clip(moved, -_LARGEST_STEP * self.scale, _LARGEST_STEP * self.scale)
        target[terms] = np.clip(found[terms] + moved, min(0.0, self.lowest), max(self.lowest, found[terms]))
        return target


def _score(differences: NDArray[np.float32], level: NDArray[np.float32], used: Bools) -> tuple[Floats, Floats]:
    """Return the score of each difference of logs (planes, pairs) and the information in it, by class of `level`."""
    score, information = np.zeros(differences.shape), np.zeros(differences.shape)
    if not used.any():
        return score, information
    edges = np.quantile(level[used][:: max(1, used.sum() // _SAMPLES)], np.linspace(0, 1, _CLASSES + 1)[1:-1])
    classes = np.digitize(level, edges)
    for n in range(_CLASSES):
        chosen = used & (classes == n)
        values = differences[chosen]
        if len(values) < 100:
            continue
        sample = values[:: max(1, len(values) // _SAMPLES)]
        sample = np.concatenate([sample, -sample])  # symmetric, so that the centre of the distribution is 0
        places, slope, information[chosen] = _learnt(sample)
        score[chosen] = np.interp(values, places, slope, left=0, right=0)
    return score, information


def _learnt(sample: NDArray[np.float32]) -> tuple[Floats, Floats, float]:
    """Return places, the score function −f'/f of a sample there, and its mean slope, the information in a value.

    f is found by a kernel; the function levels off where there is little.
    """
    end = float(np.percentile(sample, 99.5)) + 10 * _BANDWIDTH
    counts, edges = np.histogram(np.clip(sample, -end, end), np.linspace(-end, end, 400))
    width = edges[1] - edges[0]
    density, slope = (ndimage.gaussian_filter1d(counts.astype(float), _BANDWIDTH / width, order=n) for n in (0, 1))
    places, score = (edges[1:] + edges[:-1]) / 2, -slope / width / (density + 0.02 * density.max())
    return places, score, max(float(counts @ np.gradient(score, width)) / len(sample), 0.0)
