"""The translation at which two images agree, by Fourier transform, however far apart they lie.

Both images are brought to one coarse isotropic spacing, their brightness compressed and band-passed by a difference
of Gaussians, so that structures count and neither light nor background does. Their correlation at every shift d,

    c(d) = Σ_x f(x) · m(x + d),

has noise of variance ∝ n(d), the number of overlapping voxels; the shift with the largest c(d) / √n(d) is taken, if
it stands out among all shifts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import fft, ndimage

from teralign.grids import Floats
from teralign.registration.image import Image, Volume32, compress_brightness, spacing_for

_VOXELS = 400_000  # of each coarse image: 0.3 s, and still a few voxels a cell in a tissue section
_MIN_OVERLAP = 0.05  # of the smaller image: with less, noise decides
_SIGNIFICANT = 8.0  # standard deviations over all shifts; noise alone reaches 5 to 6


@dataclass(frozen=True)
class Shift:
    """A translation (z, y, x) µm from fixed to moving points, its strength, and True if the brightness is inverted.

    The strength is in standard deviations of the score over all shifts.
    """

    translation: Floats
    strength: float
    inverted: bool

    @property
    def significant(self) -> bool:
        """True if noise alone would hardly give such a peak."""
        return self.strength >= _SIGNIFICANT


def find_shift(fixed: Image, moving: Image, *, inverted: bool = False, voxels: int = _VOXELS) -> Shift:
    """Find the translation under which the moving image agrees best with the fixed one.

    With `inverted`, an image that is bright where the other is dark agrees as well. `voxels` bounds the
    size of the coarse images that are compared.
    """
    spacing = max(spacing_for(image.grid, voxels) for image in (fixed, moving))
    f, m = (_structure(image, spacing) for image in (fixed, moving))
    shape = [fft.next_fast_len(a + b - 1, real=True) for a, b in zip(f.shape, m.shape, strict=True)]
    spectrum = np.conj(fft.rfftn(f, shape)) * fft.rfftn(m, shape)
    overlap = _overlap(f.shape, m.shape, shape)
    enough = overlap >= _MIN_OVERLAP * min(f.size, m.size)
    score = np.where(enough, fft.irfftn(spectrum, shape) / np.sqrt(np.maximum(overlap, 1)), 0)
    noise = 1.4826 * float(np.median(np.abs(score[enough]))) or 1.0
    best = np.abs(score) if inverted else score
    peak = np.unravel_index(int(np.argmax(best)), best.shape)
    lag = [i if i < b else i - n for i, b, n in zip(peak, m.shape, shape, strict=True)]
    first = np.array([image_origin(fixed, spacing), image_origin(moving, spacing)])
    translation = (np.array(lag) + _subvoxel(best, peak)) * spacing + first[1] - first[0]
    return Shift(translation, float(best[peak]) / noise, bool(score[peak] < 0))


def image_origin(image: Image, spacing: float) -> Floats:
    """Return the position (z, y, x) µm of the first isotropic voxel of an image, whose outer faces are kept."""
    grid = image.grid
    return np.array([o - d / 2 + spacing / 2 for o, d in zip(grid.origin, grid.spacing, strict=True)])


def _structure(image: Image, spacing: float) -> Volume32:
    """Return the image's structures on isotropic voxels: compressed, band-passed, clipped, 0 outside the mask."""
    coarse = image.downsample_to(spacing)
    counts = [max(1, round(e / spacing)) for e in image.grid.extent]
    axes = [o + spacing * np.arange(n) for o, n in zip(image_origin(image, spacing), counts, strict=True)]
    values, inside = coarse.sample(np.stack(np.meshgrid(*axes, indexing="ij"), -1))
    values = compress_brightness(values)
    values[~inside] = values[inside].mean() if inside.any() else 0
    band = ndimage.gaussian_filter(values, 1.0, mode="nearest") - ndimage.gaussian_filter(values, 3.0, mode="nearest")
    limit = 3 * float(band[inside].std()) if inside.any() else 0.0
    band = np.clip(band, -limit, limit) * inside
    return np.asarray(band / (math.sqrt(float(np.mean(band**2))) or 1.0), dtype=np.float32)


def _overlap(fixed: tuple[int, ...], moving: tuple[int, ...], shape: list[int]) -> Volume32:
    """Return the number of voxels that overlap at each circular shift."""
    counts = []
    for a, b, n in zip(fixed, moving, shape, strict=True):
        lag = np.arange(n)
        lag = np.where(lag < b, lag, lag - n)
        counts.append(np.clip(np.minimum(a, b - lag) - np.maximum(0, -lag), 0, None).astype(np.float32))
    product: Volume32 = counts[0][:, None, None] * counts[1][:, None] * counts[2]
    return product


def _subvoxel(score: Volume32, peak: tuple[np.intp, ...]) -> Floats:
    """Return the offset (z, y, x) in voxels of the top of the parabola through a peak and its neighbours."""
    offset = np.zeros(3)
    for axis in range(3):
        n = score.shape[axis]
        at = [list(peak) for _ in range(3)]
        at[0][axis], at[2][axis] = (peak[axis] - 1) % n, (peak[axis] + 1) % n
        a, b, c = (float(score[tuple(i)]) for i in at)
        curve = a - 2 * b + c
        offset[axis] = np.clip((a - c) / (2 * curve), -0.5, 0.5) if curve < 0 else 0.0
    return offset
