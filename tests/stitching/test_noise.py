"""The level at which the noise of a camera would vanish, on images of known gain and noise of reading."""

from __future__ import annotations

import numpy as np
import pytest

from stitching.scenes import tissue
from teralign.stitching.noise import noiseless_level

DARK = 200.0
SCENE = tissue((16, 60, 60), seed=4)


def exposed(counts: float, read: float, seed: int = 0) -> np.ndarray:
    """The scene with `counts` a photon and `read` photons of noise of reading, above the dark level."""
    rng = np.random.default_rng(seed)
    photons = rng.poisson((SCENE + 60) / counts) + rng.normal(0, read, SCENE.shape)
    return np.clip(photons * counts + DARK + 0.5, 0, 65535).astype(np.uint16)


@pytest.mark.parametrize(("counts", "read"), [(50, 0.0), (50, 1.2), (25, 2.0)])
def test_it_lies_below_the_dark_level_by_the_noise_of_reading(counts: float, read: float):
    crops = [exposed(counts, read, seed) for seed in range(2)]
    found = noiseless_level(crops, 280.0, 1000.0)
    assert abs(found - (DARK - counts * read**2)) < 30


def test_it_keeps_a_tenth_of_the_range_below_what_is_given_as_low():
    assert noiseless_level([exposed(50, 0.0)], 150.0, 650.0) == 100.0


def test_noise_of_one_strength_puts_it_far_away():
    rng = np.random.default_rng(0)
    even = (SCENE + 200 + rng.normal(0, 100, SCENE.shape)).astype(np.float32)
    assert noiseless_level([even], 200.0, 1000.0) < -300


@pytest.mark.parametrize("value", [0, 200])
def test_crops_of_one_value_have_it_there(value: int):
    assert noiseless_level([np.full((4, 8, 8), value, np.uint16)], value, value) == value


def test_crops_of_one_column_say_nothing():
    assert noiseless_level([np.arange(40, dtype=np.uint16).reshape(5, 8, 1)], 0.0, 39.0) == -78.0
