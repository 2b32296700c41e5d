"""Gain and dark level of one channel from its planes: a smooth fit, and the pattern of dust on top of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from teralign.correction.kernels import block_means
from teralign.correction.photons import NoiseLevel, PhotonNoise
from teralign.correction.shading_fit import ShadingFit, fit_shading
from teralign.correction.stray import added_light
from teralign.errors import InputError
from teralign.grids import Bools, Floats

LEAST_PLANES = 8
"""Planes below which an estimate is refused: their tissue would pass for shading."""
_LEAST_BLOCKS = 0.02  # of all blocks that must hold light
_PATTERN_PLANES = 300
_LEAST_PATTERN_PLANES = 30
_NEIGHBOURHOOD = 17  # voxels whose mean a voxel is compared with: some spots of dust
_SHARP_PLANES = 150  # from which the noise of single voxels is no matter
_MOST_SPOTS = 0.1  # of a plane: more is another fault than dust
_SURE, _LIKELY = 6.0, 2.5  # standard errors: of a spot's middle, and of its rim
_LIMITS = (-0.5, 2.5)  # of a voxel against its neighbourhood: beyond is a bright spot or noise


class Planes(Protocol):
    """Planes (y, x) of one shape, read when they are asked for."""

    def __len__(self) -> int:
        """Return the number of planes."""
        ...

    def __getitem__(self, index: int) -> NDArray[np.generic]:
        """Return the voxels (y, x) of a plane."""
        ...


@dataclass(frozen=True)
class Shading:
    """The shading of one channel: gain (sections, y, x) of mean 1, dark level in counts, and their errors.

    `error` is the standard deviation of the smooth gain, in per cent; `dark_error` that of the dark level, in counts.
    `spots` is the share of voxels with a pattern of their own, such as dust. Where light is `added` to the planes,
    the dark level has it, and sections share one gain.
    """

    gain: NDArray[np.float32]
    dark: NDArray[np.float32]
    planes: int
    error: float
    dark_error: float
    spots: float
    added: bool


def estimate_shading(
    planes: Planes,
    *,
    dark: float | NDArray[np.float32] | None = None,
    sections: Sequence[Sequence[int]] = (),
    pattern: bool = True,
) -> Shading:
    """Estimate the shading of planes.

    `dark` is the dark level in counts or the dark frame (y, x), None to find the level. `sections` lists the planes
    of each section in z with a gain of its own; all planes have one gain by default. `pattern` looks for spots too.

    Raises InputError where the planes are too few or too dark to tell.
    """
    if len(planes) < LEAST_PLANES:
        raise InputError(f"the light cannot be estimated from {len(planes)} planes; it takes {LEAST_PLANES} or more.")
    frame, known = (dark, 0.0) if isinstance(dark, np.ndarray) else (None, dark)
    means, noise, shape, found = _blocks(planes, frame, photons=dark is None)
    level = np.zeros(shape, np.float32) if frame is None else frame.astype(np.float32)
    if found is None:
        whole = _fitted(means, noise, known)
    else:
        means -= found.ramp((means.shape[1], means.shape[2]))
        level += found.ramp(shape)
        whole = _fitted_at(means, noise, found)
    if frame is None:
        level += whole.dark
    added = added_light(means, noise, whole)
    if added is not None:
        whole = added.fit
        level += added.pattern(shape).astype(np.float32)
    fits = [_fitted(means[list(chosen)], noise, whole.dark) for chosen in sections if added is None] or [whole]
    gains = np.stack([fit.gain(shape) for fit in fits])
    spots = np.ones(shape)
    if pattern and len(planes) >= _LEAST_PATTERN_PLANES:
        spots = _spots(planes, whole.gain(shape), level)
        gains = gains * spots
    return Shading(
        gain=(gains / gains.mean(axis=(1, 2), keepdims=True)).astype(np.float32),
        dark=level,
        planes=len(planes),
        error=100 * max(fit.error for fit in fits),
        dark_error=whole.dark_error,
        spots=float((spots != 1).mean()),
        added=added is not None,
    )


def _fitted(means: NDArray[np.float32], noise: float, dark: float | None) -> ShadingFit:
    """Return the fit to the means of blocks (planes, y, x); InputError where hardly a block holds light."""
    if np.isfinite(means).mean() < _LEAST_BLOCKS or np.nanstd(means) == 0:
        raise InputError("the light cannot be estimated: the planes are empty, or saturated.")
    return fit_shading(means, noise, dark)


def _fitted_at(means: NDArray[np.float32], noise: float, level: NoiseLevel) -> ShadingFit:
    """Return the fit with the dark level that noise tells; what its error does to the gain is part of the gain's."""
    fit, other = (_fitted(means, noise, dark) for dark in (level.dark, level.dark - level.error))
    change = float(np.sqrt(((fit.coefficients - other.coefficients) ** 2).sum()))
    return ShadingFit(fit.coefficients, level.dark, float(np.hypot(fit.error, change)), level.error)


def _blocks(
    planes: Planes, frame: NDArray[np.float32] | None, *, photons: bool
) -> tuple[NDArray[np.float32], float, tuple[int, int], NoiseLevel | None]:
    """Return the means of the blocks (planes, y, x) less the dark frame, the noise of dim ones, and a plane's shape.

    The last is the dark level that the noise of photons tells, where that is asked for and it does.
    There are 16 blocks along the shorter side of a small plane, and 32 of a large one. Voxels beyond the last whole
    block are left out.
    """
    first = np.asarray(planes[0])
    shape = (first.shape[0], first.shape[1])
    if min(shape) < 32:
        raise InputError(
            f"the light cannot be estimated from planes of {shape[1]} x {shape[0]} voxels; 32 are least."
        )
    side = min(shape) // (16 if min(shape) < 512 else 32)
    whole = (len(planes), shape[0] // side, shape[1] // side)
    means, halves = np.empty(whole, np.float32), np.empty(whole, np.float32)
    gathered = PhotonNoise(len(planes), whole[1:], side) if photons else None
    limit = float(np.iinfo(first.dtype).max) if first.dtype.kind in "ui" else np.inf
    for n in range(len(planes)):
        plane = np.asarray(planes[n])
        block_means(plane, side, limit, means[n], halves[n])
        if gathered is not None:
            gathered.add(n, plane)
    valid = np.isfinite(means)
    dim = valid & (means <= np.nanpercentile(means, 25)) if valid.any() else valid
    noise = 1.4826 * float(np.median(np.abs(halves[dim]))) if dim.any() else 0.0
    if frame is not None:
        block, unused = np.empty(whole[1:], np.float32), np.empty(whole[1:], np.float32)
        block_means(frame, side, np.inf, block, unused)
        means -= block
    level = gathered.level(means) if gathered is not None else None
    return means, max(noise, 1e-3 * float(np.nanstd(means)) if valid.any() else 0.0), shape, level


def _spots(planes: Planes, gain: Floats, dark: NDArray[np.float32]) -> Floats:
    """Return the pattern (y, x) that the planes share beside the smooth gain, 1 where it is not sure.

    A voxel is compared with the mean of its neighbourhood in every plane: tissue varies between planes, not dust.
    Once spots are found, all is compared again without them, since they dim their own neighbourhood.
    """
    chosen = np.linspace(0, len(planes) - 1, min(len(planes), _PATTERN_PLANES)).round().astype(int)
    clear: Bools = np.ones(gain.shape, bool)
    for _ in range(2):
        sharp, mean, error = _compared(planes, chosen, gain, dark, clear)
        smooth = _smooth(mean, error)
        deviation = np.abs(mean - smooth) / error
        labels, count = ndimage.label(deviation > _LIKELY)
        sure = np.append(False, ndimage.maximum(deviation, labels, np.arange(1, count + 1)) > _SURE)
        if not 0 < sure[labels].mean() < _MOST_SPOTS:
            return np.ones(gain.shape)
        clear = ~ndimage.binary_dilation(sure[labels], iterations=2)
    return np.where(clear, 1.0, (sharp if len(chosen) >= _SHARP_PLANES else mean) / smooth)


def _compared(
    planes: Planes, chosen: NDArray[np.intp], gain: Floats, dark: NDArray[np.float32], clear: Bools
) -> tuple[Floats, Floats, Floats]:
    """Return the mean ratio (y, x) of voxels to the clear ones around, the same of smoothed ones, and its error."""
    inverse, open_ = (1 / gain).astype(np.float32), clear.astype(np.float32)
    share = np.maximum(ndimage.uniform_filter(open_, _NEIGHBOURHOOD, mode="nearest"), 1e-3)
    sharp, total, squares = np.zeros(gain.shape), np.zeros(gain.shape), np.zeros(gain.shape)
    for n in chosen:
        light = (planes[n].astype(np.float32) - dark) * inverse
        near = ndimage.uniform_filter(light * open_, _NEIGHBOURHOOD, mode="nearest") / share
        near = np.maximum(near, max(float(near.mean()) * 0.05, 1e-6))
        sharp += np.clip(light / near, *_LIMITS)
        ratio = np.clip(ndimage.gaussian_filter(light, 0.7, truncate=2) / near, *_LIMITS)
        total += ratio
        squares += ratio * ratio
    mean = total / len(chosen)
    error = np.sqrt(np.maximum(squares / len(chosen) - mean**2, 1e-12) / len(chosen))
    return sharp / len(chosen) * float(np.median(mean) / np.median(sharp / len(chosen))), mean, error


def _smooth(mean: Floats, error: Floats) -> Floats:
    """Return a pattern (y, x) without its spots: smoothed over what lies within some errors of its surroundings."""
    first = ndimage.gaussian_filter(mean, _NEIGHBOURHOOD, mode="nearest")
    weight = (np.abs(mean - first) < 2 * _LIKELY * error).astype(float)
    parts = [ndimage.gaussian_filter(part, _NEIGHBOURHOOD, mode="nearest") for part in (mean * weight, weight)]
    smooth: Floats = np.where(parts[1] > 1e-3, parts[0] / np.maximum(parts[1], 1e-3), first)
    return smooth
