"""The shift between two crops of known distance, through the faults of a microscope."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from stitching.scenes import seen, tissue
from teralign.stitching.measure import AMBIGUOUS, LOW_CORRELATION, NO_CONTENT, MeasuredShift, crops, measure_shift

SHAPE, SEARCH = (24, 96, 40), (6, 12, 12)
SCENE = tissue((48, 140, 90))


def pair(shift: tuple[float, float, float], snr: float = 5.0) -> tuple[np.ndarray, np.ndarray]:
    """Two crops, the second of them `shift` voxels further in the tissue."""
    start = np.array((10.0, 20.0, 20.0))
    return seen(SCENE, tuple(start), SHAPE, snr, 1), seen(SCENE, tuple(start + shift), SHAPE, snr, 2)


def error_of(found: MeasuredShift, shift: tuple[float, float, float]) -> float:
    return float(np.abs(np.array(found.shift) - shift).max())


@pytest.mark.parametrize("shift", [(0.0, 0.0, 0.0), (2.4, -7.3, 5.6), (-5.5, 11.5, -11.2)])
@pytest.mark.parametrize("snr", [2.0, 10.0])
def test_a_shift_is_found_to_a_tenth_of_a_voxel(shift: tuple[float, float, float], snr: float):
    found = measure_shift(*pair(shift, snr), (0.0, 0.0, 0.0), SEARCH)
    assert found.evidence, found
    assert error_of(found, shift) < (0.2 if snr < 3 else 0.1)
    assert max(found.error) < 0.4 and min(found.reliability) > 0.3


def test_the_shift_is_against_the_fractional_offset_of_the_stage():
    found = measure_shift(*pair((1.0, 2.5, -3.0)), (0.6, 2.2, -2.0), SEARCH)
    assert error_of(found, (0.4, 0.3, -1.0)) < 0.1


def test_uneven_light_and_gain_move_nothing():
    fixed, moving = pair((1.5, -2.5, 3.25))
    fall = np.exp(-np.linspace(0, 0.5, SHAPE[2]))
    uneven = [(fixed * fall).astype(np.uint16), (moving * (0.7 * fall[::-1])).astype(np.uint16)]
    found = measure_shift(*uneven, (0.0, 0.0, 0.0), SEARCH)
    assert found.evidence and error_of(found, (1.5, -2.5, 3.25)) < 0.15


def test_a_single_plane_is_measured_along_two_axes():
    scene = tissue((1, 200, 200))
    crops_of = [seen(scene, (0, 20.0 + s, 20.0 - s), (1, 128, 64), 5.0, i) for i, s in enumerate((0, 3.3))]
    found = measure_shift(*crops_of, (0.0, 0.0, 0.0), (0, 12, 12))
    assert found.evidence and error_of(found, (0.0, 3.3, -3.3)) < 0.1
    assert found.error[0] == np.inf and found.reliability[0] == 0


def test_crops_without_tissue_have_no_evidence():
    rng = np.random.default_rng(0)
    noise = [rng.poisson(50, SHAPE).astype(np.uint16) for _ in range(2)]
    found = measure_shift(*noise, (0.0, 0.0, 0.0), SEARCH)
    assert not found.evidence and found.reason == NO_CONTENT


def test_a_shut_or_constant_crop_has_no_evidence():
    fixed, _ = pair((0.0, 0.0, 0.0))
    found = measure_shift(fixed, np.full(SHAPE, 200, np.uint16), (0.0, 0.0, 0.0), SEARCH)
    assert not found.evidence and found.reason == NO_CONTENT


def test_different_tissues_have_no_evidence():
    other = seen(tissue((48, 140, 90), seed=7), (10.0, 20.0, 20.0), SHAPE, 5.0, 3)
    found = measure_shift(pair((0.0, 0.0, 0.0))[0], other, (0.0, 0.0, 0.0), SEARCH)
    assert not found.evidence and found.reason == LOW_CORRELATION


def test_a_periodic_pattern_is_ambiguous():
    z, y, x = np.indices(SHAPE)
    waves = 1000 + 400 * np.sin(2 * np.pi * y / 10) * np.sin(2 * np.pi * x / 10) * np.cos(z / 3)
    counts = [np.random.default_rng(i).poisson(waves).astype(np.uint16) for i in range(2)]
    found = measure_shift(*counts, (0.0, 0.0, 0.0), SEARCH)
    assert not found.evidence and found.reason == AMBIGUOUS


def test_a_straight_rim_of_tissue_is_no_evidence():
    """It is sharp along one axis alone: nothing says how far the tiles are off along the others."""
    rim = 60 + 600 / (1 + np.exp((np.arange(SHAPE[2]) - 20.0) / 2))
    counts = [np.random.default_rng(i).poisson(np.broadcast_to(rim, SHAPE)).astype(np.uint16) for i in range(2)]
    found = measure_shift(*counts, (0.0, 0.0, 0.0), SEARCH)
    assert not found.evidence and max(found.error) > 0.5


def test_a_rim_around_a_corner_is_no_evidence():
    """It is sharp along two axes, but nearly the same in all planes."""
    rims = [1 / (1 + np.exp((np.arange(n) - 20.0) / 2)) for n in SHAPE[1:]]
    planes = 1 + 0.1 * np.sin(np.arange(SHAPE[0]) / 5)[:, None, None]
    rim = 60 + 200 * planes * np.maximum(rims[0][:, None], rims[1])
    counts = [np.random.default_rng(i).poisson(rim).astype(np.uint16) for i in range(2)]
    found = measure_shift(*counts, (0.0, 0.0, 0.0), SEARCH)
    assert not found.evidence and max(found.error[1:]) < 0.1 and found.error[0] > 0.7, found


@pytest.mark.parametrize("share", [0.004, 0.006])
def test_a_bare_crop_with_a_trace_of_tissue_has_no_evidence(share: float):
    """A trace correlates a little; but it may as well be the rim of tissue beside a tile that has none."""
    shape, start = (24, 96, 60), (2.0, 4.0, 4.0)
    crops = [seen(SCENE * contrast, start, shape, 6.0, seed) for seed, contrast in enumerate((1, share))]
    found = measure_shift(*crops, (0.0, 0.0, 0.0), SEARCH)
    assert found.ncc > 0.1 and found.reason == NO_CONTENT, found


def test_dust_of_the_camera_does_not_hold_layers_in_place():
    """Layers see the tissue through the same pixels: without `same_view` dust says that nothing moved."""
    fixed, moving = pair((1.0, 4.0, -3.0), snr=3.0)
    rng = np.random.default_rng(5)
    spots = ndimage.gaussian_filter(rng.random(SHAPE[1:]) < 0.02, 1.0, output=float)
    dust = 1 - 0.8 * np.clip(spots / 0.16, 0, 1)
    dirty = [(200 + (crop - 200.0) * dust).astype(np.uint16) for crop in (fixed, moving)]
    found = measure_shift(*dirty, (0.0, 0.0, 0.0), SEARCH, same_view=True)
    assert found.evidence and error_of(found, (1.0, 4.0, -3.0)) < 0.25


def test_crops_reach_as_far_as_the_stage_may_be_off():
    a, b = crops((24, 100, 100), (24, 100, 100), (1.0, 80.0, 0.0), (4, 10, 10))
    assert a.start == (0, 70, 0) and a.stop == (24, 100, 100)
    assert b.start == (0, 0, 0) and b.stop == (24, 30, 100)


def test_crops_of_tiles_apart_are_empty():
    a, b = crops((24, 100, 100), (24, 100, 100), (0.0, 130.0, 0.0), (4, 10, 10))
    assert a.size == b.size == 0


def test_the_same_crops_give_the_same_bits():
    one, two = (measure_shift(*pair((1.0, 2.0, 3.0)), (0.0, 0.0, 0.0), SEARCH) for _ in range(2))
    assert one == two
