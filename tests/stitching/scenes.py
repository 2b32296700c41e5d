"""Two crops of one made-up tissue at a known sub-voxel distance, as a camera sees them."""

from __future__ import annotations

import numpy as np
from scipy import ndimage


def tissue(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Return cells on a dim background, 0 to about 1000."""
    rng = np.random.default_rng(seed)
    cells = ndimage.gaussian_filter(rng.normal(size=shape), [1.8 if n > 1 else 0 for n in shape])
    clouds = ndimage.gaussian_filter(rng.normal(size=shape), [6 if n > 1 else 0 for n in shape])
    return 300 * np.clip(cells / cells.std() + clouds / clouds.std(), 0, None)


def seen(scene: np.ndarray, start: tuple[float, ...], shape: tuple[int, ...], snr: float, seed: int) -> np.ndarray:
    """Return the counts (uint16) of a crop of `shape` at a fractional `start`, with noise of photons."""
    whole = np.floor(start).astype(int)
    block = (
        scene[tuple(slice(w, w + n + 1) for w, n in zip(whole, shape, strict=True))]
        if scene.shape[0] > 1
        else (scene[:, whole[1] : whole[1] + shape[1] + 1, whole[2] : whole[2] + shape[2] + 1])
    )
    moved = ndimage.shift(block, -(np.asarray(start) - whole), order=3, mode="nearest")
    clear = np.clip(moved[tuple(slice(0, n) for n in shape)], 0, None) + 60
    photons = snr**2 / 300
    return (np.random.default_rng(seed).poisson(clear * photons) / photons + 200).astype(np.uint16)
