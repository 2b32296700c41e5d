"""Light and patterns that are not tissue, in two overlaps whose tissue is known."""

from __future__ import annotations

import numpy as np
import pytest

from stitching.scenes import tissue
from teralign.stitching.artefacts import damp_patterns, even_light
from teralign.stitching.measure import measure_shift

SHAPE = (24, 26, 96)
TISSUE = np.sqrt(tissue(SHAPE, seed=2)).astype(np.float32)


def noisy(seed: int, strength: float = 2.0) -> np.ndarray:
    return (TISSUE + np.random.default_rng(seed).normal(0, strength, SHAPE)).astype(np.float32)


def falling(slope: float) -> np.ndarray:
    return np.exp(slope * (np.arange(SHAPE[1]) - 12.5)).astype(np.float32)[:, None]


def test_light_that_falls_off_towards_opposite_sides_is_evened():
    fixed, moving = noisy(0) * falling(-0.006), noisy(1) * falling(0.006)
    even_light(fixed, moving)
    ends = [float(image[:, part].std()) for image in (fixed, moving) for part in (slice(0, 8), slice(-8, None))]
    assert abs(np.log(ends[1] / ends[0] * ends[2] / ends[3])) < 0.05
    assert abs(fixed.mean()) < 1


def test_even_light_stays_as_it_is():
    fixed, moving = noisy(0), noisy(1)
    before = fixed - fixed.mean()
    even_light(fixed, moving)
    assert np.abs(fixed - fixed.mean() - before).max() < 0.05 * np.abs(before).max()


@pytest.mark.parametrize("axes", [(0,), (2,), (0, 2)])
def test_what_is_constant_along_axes_in_one_image_is_weakened(axes: tuple[int, ...]):
    shape = tuple(1 if axis in axes else n for axis, n in enumerate(SHAPE))
    pattern = np.random.default_rng(5).normal(0, 6, shape).astype(np.float32)
    fixed, other = noisy(0) - TISSUE.mean() + pattern, noisy(1) - TISSUE.mean()
    before = np.corrcoef(fixed.ravel(), other.ravel())[0, 1]
    damp_patterns(fixed, other, (1.0, 1.0, 1.0))
    assert np.corrcoef(fixed.ravel(), other.ravel())[0, 1] > before + 0.02


def test_tissue_in_noise_is_not_weakened():
    fixed, moving = noisy(0) - TISSUE.mean(), noisy(1) - TISSUE.mean()
    before = fixed.copy()
    damp_patterns(fixed, moving, (1.0, 1.0, 1.0))
    assert float(np.std(fixed - before)) < 0.02 * float(np.std(before))


def test_empty_overlaps_stay_zero():
    fixed, moving = np.zeros(SHAPE, np.float32), np.zeros(SHAPE, np.float32)
    even_light(fixed, moving)
    damp_patterns(fixed, moving, (1.0, 1.0, 1.0))
    assert not fixed.any() and not moving.any()


def test_vignetting_and_shadows_of_the_sheet_move_a_pair_by_less_than_a_tenth():
    """The tissue of both crops is the same, at the same place."""
    clear = tissue(SHAPE, seed=2) + 60
    rng = np.random.default_rng(3)
    crops = []
    for sign in (-1, 1):
        shadow = np.exp(0.1 * rng.normal(size=(1, SHAPE[1], 1)))
        light = falling(0.008 * sign) * shadow
        crops.append((rng.poisson(clear * light / 20) * 20 + 200).astype(np.uint16))
    found = measure_shift(crops[0], crops[1], (0.0, 0.0, 0.0), (4, 4, 4))
    assert found.evidence and np.abs(found.shift).max() < 0.1
