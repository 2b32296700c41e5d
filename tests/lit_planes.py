"""Planes of tissue in a known uneven light."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

SHAPE = (96, 128)


def light(shape=SHAPE, *, centre=(-0.1, 0.2), strength=0.4):
    """A gain (y, x) of mean 1 that falls off from a centre."""
    y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    gain = np.exp(-strength * ((y - centre[0]) ** 2 + 0.8 * (x - centre[1]) ** 2))
    return (gain / gain.mean()).astype(np.float32)


def scenes(count, seed=0, shape=SHAPE):
    """Planes (n, y, x) of blobs of 300 on a background of 60, each plane of its own brightness; without noise."""
    rng = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(rng.normal(size=(count, *shape)), (0, 5, 5), mode="wrap")
    tissue = 60 + 300 * np.clip(noise / noise.std() - 0.4, 0, None)
    return tissue * np.exp(rng.normal(0, 0.15, (count, 1, 1)))


def exposed(scenes, gain, *, dark=200.0, seed=1):
    """The planes as a camera has them, uint16."""
    rng = np.random.default_rng(seed)
    return np.rint(rng.normal(scenes * gain, 8) + dark).clip(0, 65535).astype(np.uint16)


def lit_from_beside(seed=0):
    """Planes of dense tissue and of blank glass under a gain, the light that is added to them, and that gain."""
    glow = 40 * (light(centre=(0.8, 0.8), strength=0.8) - 1)
    rng = np.random.default_rng(seed)
    tissue = np.where(np.arange(60) % 2, 1, 0)[:, None, None] * (1500 + 8 * scenes(60, seed))
    return exposed((60 + tissue) * light() + rng.normal(0, 0.5, (60, 1, 1)) + glow, 1.0), glow


def counted(scenes, gain, *, dark=200.0, per_photon=8.0, read=1.6, seed=1):
    """The planes, through optics, as a camera counts photons, each as `per_photon`; `read` photons are noise."""
    rng = np.random.default_rng(seed)
    seen = ndimage.gaussian_filter(scenes, (0, 1, 1)) * gain
    photons = rng.poisson(seen / per_photon) + rng.normal(0, read, scenes.shape)
    return np.rint(photons * per_photon + dark).clip(0, 65535).astype(np.uint16)


def rms(found, true):
    """The error of a gain in per cent, after both are scaled to mean 1."""
    return 100 * float(np.std(found / found.mean() / true * true.mean()))
