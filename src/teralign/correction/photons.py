"""The dark level from the noise of planes: light comes as photons, whose noise vanishes with it.

Counts of photons are Poisson distributed: of a mean height h above the dark level, in a camera of q counts a photon,
they have the variance q · h and the third cumulant q² · h. The noise of reading adds to the variance, but it is
symmetric and adds nothing to the third cumulant. So q is the slope of the variance against the mean (Janesick, Photon
Transfer, SPIE 2007), and h the third cumulant divided by q²; the level is the mean less h.

Noise is what is left of a voxel without the polynomial through its surroundings, where the optics leave no detail.
The third cumulant has a slope against the mean as well, which photons make q². Where it is another, or where the
variance differs between blocks of one mean, noise is not that of photons alone (it is averaged, sharpened,
compressed, amplified at random, or detail of tissue), and tells nothing of the dark level.

Where the level is tilted over the plane, blocks of one mean have more variance on one side than on the other, by
q times the difference: the noise of reading is the same everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from teralign.correction.kernels import noise_cumulants
from teralign.grids import Bools, Floats

_RADIUS, _DEGREE = 3, 4  # of the surroundings in voxels, and of the polynomial
_DIM = (0.6, 0.4, 0.2)  # shares of the blocks, the dimmest, in turn: tissue adds detail of its own to brighter ones
_WIDE = 6.0  # standard deviations of a variance: more is detail of tissue, or a bright spot
_ODD = 4.0  # standard deviations of the mean variance at a place of the planes: more is dust, or a hot voxel
_MOST_SCATTER = 1.1  # of the variances of alike blocks, in units of that of even noise: detail makes them differ
_MOST_CUT = 0.02  # of the dim blocks in which noise may reach below 0, where it is cut off
_GROUPS = 24  # of planes, left out in turn for the errors
_LEAST_BLOCKS = 2000
_LEAST_SLOPE = 10.0  # standard errors of the variance's slope: less, and it does not tell photons
_MOST_RATIO_ERROR = 0.15  # of the slopes' ratio, to be able to judge it
_SAME_RATIO = (3.0, 0.1)  # standard errors by which it may differ from 1, beside a difference that is no matter
_DOUBT = 0.02  # of the height, beside the standard error: detail of tissue that is not noticed
_VOXELS = 1.5e8  # that suffice, of all planes
_TILTED = 5.0  # standard errors of a tilt: less is none


@dataclass(frozen=True)
class NoiseLevel:
    """A dark level and its standard error, in counts, and what it rises by from edge to edge along y and x."""

    dark: float
    error: float
    tilt: tuple[float, float] = (0.0, 0.0)

    def ramp(self, shape: tuple[int, int]) -> NDArray[np.float32]:
        """Return the tilt in a plane of voxels or of blocks (y, x), counts, of mean 0."""
        y, x = (rise * _across(n) for rise, n in zip(self.tilt, shape, strict=True))
        return (y[:, None] + x).astype(np.float32)


class PhotonNoise:
    """The variance and third cumulant of the noise in the blocks of planes, gathered plane by plane."""

    def __init__(self, planes: int, shape: tuple[int, int], side: int) -> None:
        """Prepare for a number of planes of blocks (y, x) of `side` voxels."""
        self._kernel, self._side = _kernel(), side
        self._variance, self._third = (np.full((planes, *shape), np.nan, np.float32) for _ in range(2))
        self._step = int(max(1, planes * shape[0] * shape[1] * side**2 / _VOXELS))

    def add(self, n: int, plane: NDArray[np.generic]) -> None:
        """Take plane number n (y, x), or some rows of its blocks where there are more voxels than it takes."""
        rows = (n % self._step, self._step)
        noise_cumulants(plane, self._kernel, self._side, rows, self._variance[n], self._third[n])

    def level(self, means: NDArray[np.float32]) -> NoiseLevel | None:
        """Return the dark level for the means of the blocks (planes, y, x); None where the noise does not tell it."""
        for share in _DIM:
            cumulants = _gathered(means, self._variance, self._third, self._side**2, share)
            tilt = (0.0, 0.0) if cumulants is None else cumulants.tilt()
            if any(tilt):
                even = means - NoiseLevel(0.0, 0.0, tilt).ramp((means.shape[1], means.shape[2]))
                cumulants = _gathered(even, self._variance, self._third, self._side**2, share)
            level = None if cumulants is None else cumulants.level()
            if level is not None:
                return replace(level, tilt=tilt)
        return None


def _across(count: int) -> Floats:
    """Return the places of so many voxels or blocks across a plane, from −½ at one edge to ½ at the other."""
    places: Floats = (np.arange(count) + 0.5) / count - 0.5
    return places


def _kernel() -> NDArray[np.float32]:
    """Return the filter (y, x) that takes the polynomial through its surroundings from a voxel; 1 in the middle."""
    along = np.arange(-_RADIUS, _RADIUS + 1) / _RADIUS
    y, x = (part.ravel() for part in np.meshgrid(along, along, indexing="ij"))
    others = (y != 0) | (x != 0)
    terms = np.stack([y**i * x**j for i in range(_DEGREE + 1) for j in range(_DEGREE + 1 - i)], axis=1)
    kernel = np.ones(len(y))
    kernel[others] = -np.linalg.pinv(terms[others])[0]
    return kernel.reshape(len(along), -1).astype(np.float32)


@dataclass(frozen=True)
class _Cumulants:
    """Variances and third cumulants of blocks against their means, as sums over each group of planes.

    Both are of shape (groups, 5): the weighted sums of 1, m, m², y and m · y, of the means m less `middle` and the
    values y. `sloping` is of shape (groups, 4, 5): the normal equations of variances that are 1, m, and the places
    across the plane along y and x, each by a factor, with their right side as the last column.
    """

    variance: Floats
    third: Floats
    sloping: Floats
    middle: float

    def tilt(self) -> tuple[float, float]:
        """Return what the dark level rises by across the plane along y and x; 0 where that may be chance."""
        groups = len(self.sloping)
        along = self._rises(np.ones(groups, bool))
        without = np.array([self._rises(np.arange(groups) != n) for n in range(groups)])
        errors = np.sqrt((groups - 1) * without.var(axis=0))
        y, x = np.where(np.abs(along) > _TILTED * errors, along, 0.0)
        return float(y), float(x)

    def _rises(self, groups: Bools) -> Floats:
        """Return the tilt along y and x as some groups have it."""
        _, slope, y, x = _solved(self.sloping[groups].sum(axis=0))
        return np.array([-y, -x]) / (slope or np.nan)

    def level(self) -> NoiseLevel | None:
        """Return the dark level, None where the noise is not that of photons."""
        groups = len(self.variance)
        height, slope, ratio = self._values(np.ones(groups, bool))
        without = np.array([self._values(np.arange(groups) != n) for n in range(groups)])
        errors = np.sqrt((groups - 1) * without.var(axis=0))
        if not (slope > _LEAST_SLOPE * errors[1] and errors[2] < _MOST_RATIO_ERROR):
            return None
        if abs(ratio - 1) > _SAME_RATIO[0] * errors[2] + _SAME_RATIO[1]:
            return None
        return NoiseLevel(self.middle - height, float(np.hypot(errors[0], _DOUBT * height)))

    def _values(self, groups: Bools) -> tuple[float, float, float]:
        """Return the height of `middle` above the dark level, the counts of a photon, and the ratio of the slopes."""
        variance, third = self.variance[groups].sum(axis=0), self.third[groups].sum(axis=0)
        _, slope = _line(variance)
        _, steep = _line(third)
        square = slope**2 or np.nan
        return float((third[3] / square - third[1]) / (third[0] or np.nan)), slope, steep / square


def _gathered(
    means: NDArray[np.float32], variance: NDArray[np.float32], third: NDArray[np.float32], size: int, share: float
) -> _Cumulants | None:
    """Return the sums over the dimmest blocks of `size` voxels, a `share` of all.

    None where these are few, where their noise is cut off at 0, and where detail is part of it.
    """
    seen: Bools = np.isfinite(means) & np.isfinite(variance)
    seen[:, [0, -1]] = seen[:, :, [0, -1]] = False  # the filter has no surroundings at the edges of the plane
    if seen.sum() < _LEAST_BLOCKS:
        return None
    dim: Bools = seen & (means <= np.quantile(means[seen], share))
    if (variance[dim] < 0).mean() > _MOST_CUT:
        return None
    used: Bools = dim & (variance >= 0)
    plane, place = (part.ravel()[used.ravel()] for part in np.divmod(np.arange(means.size), means[0].size))
    row, column = np.divmod(place, means.shape[2])
    kernel = _kernel().astype(float)
    m = means[used].astype(float)
    squares, cubes = variance[used] / (kernel**2).sum(), third[used] / (kernel**3).sum()
    middle = float(m.mean())
    m -= middle
    terms = [np.ones(len(m)), m, _across(means.shape[1])[row], _across(means.shape[2])[column]]
    most = (1 - 2 / (9 * size) + _WIDE * np.sqrt(2 / (9 * size))) ** 3  # of chi-squared (Wilson and Hilferty 1931)
    expected: Floats = np.full(len(m), float(np.median(squares)))
    kept: Bools = np.ones(len(m), bool)
    for n in range(4):
        kept = squares < expected * most
        if kept.sum() < _LEAST_BLOCKS / 2:
            return None
        if n > 1:  # once what is expected is known
            kept &= ~_odd(squares / expected, kept, place)[place]
        factors = _solved(_equations(kept / expected**2, terms, squares, np.zeros(len(m), int), 1)[0])
        expected = np.maximum(np.einsum("i,ij->j", factors, terms), 0.2 * expected.mean())
    scatter = size / (2 * _correlation(kernel)) * float((squares / expected)[kept].var())
    if scatter > _MOST_SCATTER:
        return None
    groups = min(_GROUPS, len(means))
    return _Cumulants(
        _sums(kept / expected**2, m, squares, plane % groups, groups),
        _sums(kept / expected**3, m, cubes, plane % groups, groups),
        _equations(kept / expected**2, terms, squares, plane % groups, groups),
        middle,
    )


def _correlation(kernel: Floats) -> float:
    """Return the sum of the squared correlations of filtered noise: so many voxels tell as much as one without."""
    spectrum = np.abs(np.fft.fft2(kernel, [2 * n for n in kernel.shape])) ** 2
    return float((spectrum**2).mean() / spectrum.mean() ** 2)


def _odd(excess: Floats, kept: Bools, place: NDArray[np.intp]) -> Bools:
    """Return at which places of the planes there is more noise than elsewhere, in the mean of all planes."""
    count = np.bincount(place, kept)
    mean = np.bincount(place, kept * excess) / np.maximum(count, 1)
    middle = np.median(mean[count > 0])
    odd: Bools = mean > middle + _ODD * 1.4826 * np.median(np.abs(mean[count > 0] - middle))
    return odd


def _sums(weight: Floats, m: Floats, y: Floats, group: NDArray[np.intp], groups: int) -> Floats:
    """Return the sums of 1, m, m², y and m · y in each group (groups, 5)."""
    parts = (np.ones(len(m)), m, m * m, y, m * y)
    return np.stack([np.bincount(group, weight * part, groups) for part in parts], axis=1)


def _equations(weight: Floats, terms: list[Floats], y: Floats, group: NDArray[np.intp], groups: int) -> Floats:
    """Return the normal equations of y by terms in each group (groups, terms, terms + 1)."""
    rows = [[np.bincount(group, weight * term * other, groups) for other in (*terms, y)] for term in terms]
    return np.moveaxis(np.array(rows), 2, 0)


def _solved(equations: Floats) -> Floats:
    """Return the factors of the terms (terms,) from normal equations (terms, terms + 1)."""
    return np.asarray(np.linalg.lstsq(equations[:, :-1], equations[:, -1], rcond=None)[0], float)


def _line(sums: Floats) -> tuple[float, float]:
    """Return offset and slope of the line through values, from their sums; NaN where these do not tell it."""
    n, m, mm, y, my = (float(part) for part in sums)
    slope = (n * my - m * y) / (n * mm - m * m or np.nan)
    return (y - slope * m) / (n or np.nan), slope
