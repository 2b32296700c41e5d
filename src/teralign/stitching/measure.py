"""The shift between two overlapping tiles, from two crops of them."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from teralign.grids import FloatTriple, Region, Triple, as_float_triple, as_triple
from teralign.stitching.artefacts import damp_patterns, even_light
from teralign.stitching.correlate import Correlation, distinct, overlap_at
from teralign.stitching.filters import band_pass, downsample
from teralign.stitching.kernels import Image32, square_roots
from teralign.stitching.noise import noiseless_level
from teralign.stitching.refine import Refined, refine_lag

Reason = Literal["", "no content", "ambiguous", "low correlation", "unreadable"]
NO_CONTENT: Final = "no content"
AMBIGUOUS: Final = "ambiguous"
LOW_CORRELATION: Final = "low correlation"
UNREADABLE: Final = "unreadable"
"""The reasons of a pair without evidence."""

WORKING_BYTES = 40
"""Memory a voxel of a crop: means, band-passes, spectra and interpolated images; measured."""

LEAST_CONTENT = 1.3
"""The least structure of tissue against noise; at a signal-to-noise ratio of 2 tissue has more."""

Sigmas = tuple[float, float, float]
_FINE: tuple[Sigmas, Sigmas] = ((0.8, 1.0, 1.0), (2.4, 3.0, 3.0))
_COARSE: tuple[Sigmas, Sigmas] = ((0.8, 0.6, 0.6), (2.4, 1.6, 1.6))  # the same on voxels of twice the size in y and x

_PEAKS = 4
_LEAST_SIDE = 6  # voxels that must overlap along each axis
_HALVED = 16  # voxels: shorter axes are not halved
_DEEP = 96  # planes from which z is halved as well
_ERROR_SCALE = 1.3  # measured on pairs of known truth: true errors by the standard errors of blocks
_ERROR_FLOOR = 0.04  # voxels
_FEW = 30_000  # voxels: with so few, the errors of blocks are too small by the root of 2
_CELL = 35.0  # voxels: of independent values of white noise after the fine band-pass
_LEAST_NCC = 0.1
_CLEAR_NCC = 0.2  # with less, a crop that shows no more than noise has a rim of tissue or chance, not a place
_SIGNIFICANT = 6.0  # times the correlation that noise has: the largest of a window of noise reaches 4 to 5
_AMBIGUOUS = 0.75  # of the correlation: the next peak is as likely
_WORST_ERROR = 0.36  # voxels, along two axes: the rim of tissue that ends in an overlap is sharp along one alone
_WORST_OF_ALL = 0.7  # voxels, along any axis that is measured: at a corner the rim is sharp along two
_RELIABLE = 0.3  # voxels: the error at which the reliability is one half


@dataclass(frozen=True)
class MeasuredShift:
    """The findings of two crops: the shift (z, y, x) voxels against the stage, its standard error, and the evidence.

    `ncc` is the correlation of the band-passed overlap, `ncc_before` that of the stage's position and `second` that
    of the next distinct peak, both at half size. `reliability` is in 0 … 1, axis by axis. `content` is the structure
    of each crop against its noise: 1 is noise alone.
    """

    shift: FloatTriple = (0.0, 0.0, 0.0)
    error: FloatTriple = (math.inf, math.inf, math.inf)
    ncc: float = 0.0
    ncc_before: float = 0.0
    second: float = 0.0
    voxels: int = 0
    content: tuple[float, float] = (0.0, 0.0)
    evidence: bool = False
    reason: Reason = ""

    @property
    def reliability(self) -> FloatTriple:
        """1 for an axis that is known exactly, 0 for one that is not measured."""
        return as_float_triple(1 / (1 + (error / _RELIABLE) ** 2) for error in self.error)


def crops(fixed: Triple, moving: Triple, offset: FloatTriple, search: Triple) -> tuple[Region, Region]:
    """Return the regions of two tiles that can show the same where their distance is off by up to `search` voxels.

    `fixed` and `moving` are their shapes, `offset` is the moving position minus the fixed one, all in voxels.
    """
    whole = as_triple(round(value) for value in offset)
    a, b = overlap_at(fixed, moving, whole)
    if not a.size:
        return a, b
    return a.grow(search).intersect(Region.whole(fixed)), b.grow(search).intersect(Region.whole(moving))


def measure_shift(
    fixed: NDArray[np.generic],
    moving: NDArray[np.generic],
    offset: FloatTriple,
    search: Triple,
    *,
    same_view: bool = False,
) -> MeasuredShift:
    """Measure the shift between two crops (z, y, x) of any number type.

    `offset` is the position of the moving crop's first voxel in the fixed crop, in voxels, as the stage has it; the
    true one differs by up to `search` voxels. Both crops are reduced to square roots under which noise is even
    (`noise`); a difference of Gaussians takes out bleaching and background. Correlation at half size finds the voxel,
    verified on some peaks; Gauss-Newton steps at full size, in even light and with what is not tissue weakened
    (`artefacts`), find its fraction.

    With `same_view` the crops show the tissue through the same pixels of the camera or nearly so, as layers do: what
    all planes share, such as dust, would then agree at the wrong shift, and is taken out.
    """
    factors = _factors(fixed.shape, moving.shape)
    small = [downsample(crop, factors) for crop in (fixed, moving)]
    ends = np.array([np.percentile(crop[::2, ::2, ::2], (1, 99)) for crop in small])
    floor = noiseless_level((fixed, moving), float(ends[:, 0].min()), float(ends[:, 1].max()))
    bands, contents = [], []
    for crop in small:
        square_roots(crop, floor, crop)
        bands.append(_band(crop, _COARSE, same_view))
        contents.append(_content(crop, bands[-1]))
    thin = [min(n, m) < _LEAST_SIDE for n, m in zip(fixed.shape, moving.shape, strict=True)]
    window = [0 if t else reach for t, reach in zip(thin, search, strict=True)]
    low = as_triple(math.floor((o - w) / f) for o, w, f in zip(offset, window, factors, strict=True))
    high = as_triple(math.ceil((o + w) / f) for o, w, f in zip(offset, window, factors, strict=True))
    halves = Correlation(bands[0], bands[1], _LEAST_SIDE // 2)
    content = (contents[0], contents[1])
    before = max(0.0, halves.at(as_triple(round(o / f) for o, f in zip(offset, factors, strict=True))))
    tops = {halves.climb(peak) for peak in halves.peaks(low, high, _PEAKS)}
    if not tops:
        return _judged(MeasuredShift(ncc_before=before, content=content), 0.0)
    best = max(tops, key=halves.at)
    second = max((halves.at(top) for top in tops if distinct(top, best)), default=0.0)
    start = as_triple(b * f for b, f in zip(best, factors, strict=True))
    found = _at_full_size(fixed, moving, start, floor, same_view)
    shift = np.where(np.isfinite(found.error), found.lag - offset, 0.0)
    scale = _ERROR_SCALE * math.sqrt(1 + _FEW / max(1, found.voxels))
    error = np.hypot(scale * found.error, _ERROR_FLOOR)
    whole = MeasuredShift(
        shift=as_float_triple(shift),
        error=as_float_triple(error),
        ncc=found.ncc,
        ncc_before=before,
        second=second,
        voxels=found.voxels,
        content=content,
    )
    return _judged(whole, halves.at(best))


def _at_full_size(
    fixed: NDArray[np.generic], moving: NDArray[np.generic], lag: Triple, floor: float, same_view: bool
) -> Refined:
    """Refine a lag on the band-passed overlap, which is cut out before: both end at one place of the tissue."""
    roots = []
    for crop, region in zip((fixed, moving), overlap_at(fixed.shape, moving.shape, lag), strict=True):
        roots.append(np.empty(region.shape, np.float32))
        square_roots(crop[region.slices], floor, roots[-1])
    even_light(roots[0], roots[1])
    whole = [_band(root, _FINE, same_view) for root in roots]
    best = Correlation(whole[0], whole[1], _LEAST_SIDE).climb((0, 0, 0))
    regions = overlap_at(whole[0].shape, whole[1].shape, best)
    bands = [np.ascontiguousarray(band[region.slices]) for band, region in zip(whole, regions, strict=True)]
    damp_patterns(bands[0], bands[1], _noise_coherence())
    found = refine_lag(Correlation(bands[0], bands[1], _LEAST_SIDE), (0, 0, 0))
    return replace(found, lag=found.lag + lag + best)


def _band(image: Image32, sigmas: tuple[Sigmas, Sigmas], same_view: bool) -> Image32:
    """Return the band-pass; in the `same_view` of the camera without what is the same in all planes."""
    band = band_pass(image, *sigmas)
    if same_view and len(band) >= _LEAST_SIDE:
        band -= band.mean(axis=0)
    return band


def _judged(found: MeasuredShift, coarse: float) -> MeasuredShift:
    """Return what was measured with its evidence or why it lacks; `coarse` is its ncc at half size."""
    noise = math.sqrt(_CELL / max(1, found.voxels)) if found.voxels else 1.0
    known = sorted(error for error in found.error if math.isfinite(error))
    sharp = bool(known) and known[:2][-1] <= _WORST_ERROR and known[-1] <= _WORST_OF_ALL
    bare = min(found.content) < LEAST_CONTENT
    if bare and found.ncc < _CLEAR_NCC:
        return replace(found, reason=NO_CONTENT)
    if found.ncc >= max(_LEAST_NCC, _SIGNIFICANT * noise) and sharp:
        if found.second <= _AMBIGUOUS * coarse:
            return replace(found, evidence=True)
        return replace(found, reason=AMBIGUOUS)
    return replace(found, reason=NO_CONTENT if bare else LOW_CORRELATION)


def _factors(fixed: tuple[int, ...], moving: tuple[int, ...]) -> Triple:
    """Return by what the search reduces the crops: 2 along y and x, and along z of deep crops."""
    sides = [min(n, m) for n, m in zip(fixed, moving, strict=True)]
    z, y, x = (2 if side >= least else 1 for side, least in zip(sides, (_DEEP, _HALVED, _HALVED), strict=True))
    return z, y, x


def _content(image: Image32, band: Image32) -> float:
    """Return the variance of the coarse band-pass against that of white noise as strong as the finest detail."""
    detail = np.diff(image, 2, axis=2)
    noise = float(np.mean(detail**2)) / 6 if detail.size else 0.0
    return float(np.mean(band**2)) / (noise * _noise_passed(image.shape[0] > 1)) if noise > 0 else 0.0


@functools.cache
def _noise_coherence() -> tuple[float, ...]:
    """Return over how many voxels along each axis the noise coheres that the fine band-pass leaves of white noise."""
    band = band_pass(_impulse(deep=True), *_FINE)
    return tuple(float(np.sum(band.sum(axis=axis) ** 2) / np.sum(band**2)) for axis in range(3))


@functools.cache
def _noise_passed(deep: bool) -> float:
    """Return the share of the variance of white noise that the coarse band-pass leaves, in a volume or a plane."""
    return float(np.sum(band_pass(_impulse(deep), *_COARSE) ** 2))


def _impulse(deep: bool) -> Image32:
    """Return 1 in the midst of zeros."""
    impulse = np.zeros((41 if deep else 1, 41, 41), np.float32)
    impulse[impulse.shape[0] // 2, 20, 20] = 1
    return impulse
