"""Band-pass of an image by a difference of Gaussians, and sub-voxel interpolation, of float32 (z, y, x)."""

from __future__ import annotations

import functools
import math

import numpy as np
from numpy.typing import NDArray

from teralign.grids import Floats, Triple
from teralign.stitching.kernels import Image32, filter_columns, filter_rows, interpolate, pool

TAPS = 6
"""Samples an axis of the interpolation: Lagrange's polynomial of degree 5, exact to 0.1 % below half of Nyquist."""

BEFORE, AFTER = 2, 3
"""Samples that the interpolation reads before and after a voxel."""


@functools.cache
def _gaussian(sigma: float) -> Image32:
    """Return the taps 0 … n of a sampled Gaussian that sums to 1 over both sides."""
    reach = max(1, math.ceil(3 * sigma))
    taps = np.exp(-0.5 * (np.arange(reach + 1) / sigma) ** 2)
    taps /= taps[0] + 2 * taps[1:].sum()
    return taps.astype(np.float32)


def smooth(image: Image32, sigmas: tuple[float, float, float]) -> Image32:
    """Return the image smoothed by a Gaussian of `sigmas` (z, y, x) voxels; 0 or an axis of one voxel: as it is."""
    for axis, sigma in enumerate(sigmas):
        if sigma <= 0 or image.shape[axis] == 1:
            continue
        out = np.empty_like(image)
        taps = _gaussian(sigma)
        if axis == 2:
            filter_columns(image.reshape(-1, image.shape[2]), taps, out.reshape(-1, image.shape[2]))
        else:
            outer = math.prod(image.shape[:axis])
            shape = (outer, image.shape[axis], image.size // (outer * image.shape[axis]))
            filter_rows(image.reshape(shape), taps, out.reshape(shape))
        image = out
    return image


def band_pass(image: Image32, narrow: tuple[float, float, float], wide: tuple[float, float, float]) -> Image32:
    """Return the image smoothed by `narrow` minus that smoothed by `wide` (sigmas z, y, x, in voxels)."""
    fine = smooth(image, narrow)
    z, y, x = (math.sqrt(max(0.0, w * w - n * n)) for n, w in zip(narrow, wide, strict=True))
    band: Image32 = np.subtract(fine, smooth(fine, (z, y, x)))
    return band


def downsample(image: NDArray[np.generic], factors: Triple) -> Image32:
    """Return means over groups of `factors` voxels, as float32."""
    out = np.empty(tuple(n // f for n, f in zip(image.shape, factors, strict=True)), np.float32)
    pool(np.ascontiguousarray(image), factors, out)
    return out


def sample_between(image: Image32, fractions: Floats) -> Image32:
    """Return image(i + fraction) at all voxels i, mirrored at its faces; `fractions` (z, y, x) are within ±½."""
    taps = np.zeros((3, TAPS), np.float32)
    for axis, fraction in enumerate(fractions):
        taps[axis] = _lagrange(float(fraction))
    out = np.empty_like(image)
    widths = [(BEFORE, AFTER) if fraction else (0, 0) for fraction in fractions]
    interpolate(np.pad(image, widths, mode="symmetric"), taps, out)
    return out


def _lagrange(t: float) -> Image32:
    """Return the weights of the samples −2 … 3 for the value at t."""
    nodes = np.arange(-BEFORE, AFTER + 1)
    return np.array([np.prod([(t - q) / (p - q) for q in nodes if q != p]) for p in nodes], np.float32)
