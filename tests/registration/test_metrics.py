import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phantoms import Scene, affine_about, cube
from teralign.registration import Image
from teralign.registration.metrics import Windows, lncc, local_correlation, mutual_information, ncc
from teralign.transforms import Affine

SCENE = Scene.cells()


def test_ncc_is_pearsons_correlation():
    a, b = np.random.default_rng(0).random((2, 5, 6, 7))
    assert ncc(a, b) == pytest.approx(np.corrcoef(a.ravel(), b.ravel())[0, 1])
    mask = a > 0.5
    assert ncc(a, b, mask) == pytest.approx(np.corrcoef(a[mask], b[mask])[0, 1])
    assert math.isnan(ncc(a, np.ones_like(a)))


@given(st.floats(0.1, 50), st.floats(-100, 100))
def test_correlations_do_not_see_gain_and_offset(gain, offset):
    a, b = np.random.default_rng(0).random((2, 6, 6, 6))
    assert ncc(a, gain * b + offset) == pytest.approx(ncc(a, b), abs=1e-6)
    assert lncc(a, gain * b + offset, 1) == pytest.approx(lncc(a, b, 1), abs=1e-5)


def test_local_correlation_is_that_of_each_window():
    a, b = np.random.default_rng(1).random((2, 9, 9, 9))
    window = (slice(3, 6),) * 3
    assert local_correlation(a, b, 1)[4, 4, 4] == pytest.approx(ncc(a[window], b[window]), abs=1e-5)


def test_local_correlation_does_not_see_slow_light():
    a = SCENE.draw(cube(24), noise=0).array - 200.0
    light = np.linspace(1, 6, 24)[:, None, None]
    assert lncc(a, a * light, 2) > 0.97 > ncc(a, a * light)


def test_flat_windows_do_not_count():
    a, b = np.random.default_rng(1).random((2, 12, 12, 12))
    b[:, :, 6:] = 3.0
    values = local_correlation(a, b, 1)
    assert np.isnan(values[:, :, 8:]).all()
    assert np.isfinite(values[:, :, :5]).all()
    assert math.isnan(lncc(a, np.ones_like(a), 1))


def test_mutual_information_sees_any_relation():
    a, b = np.random.default_rng(2).random((2, 20000)).astype(np.float32)
    assert mutual_information(a, (a - 0.5) ** 2) > 1.0
    assert mutual_information(a, b) < 0.05
    assert math.isnan(mutual_information(a, np.zeros_like(a)))


def test_windows_score_best_at_the_truth():
    fixed, moving = SCENE.draw(cube(48), seed=1), SCENE.draw(cube(48), seed=2, gain=500)
    windows = Windows.of(fixed, moving)
    for measure in ("lncc", "ncc", "mi"):
        scores = [windows.score(affine_about(np.zeros(3), shift=(0, d, 0)), measure) for d in (0, 2, 4, 8)]
        assert scores == sorted(scores, reverse=True)


def test_windows_outside_have_no_score():
    image = SCENE.draw(cube(32))
    windows = Windows.of(image, image)
    assert math.isnan(windows.score(affine_about(np.zeros(3), shift=(500, 0, 0))))
    masked = Windows.of(Image(image.array, image.grid, np.zeros(image.array.shape, bool)), image)
    assert math.isnan(masked.score(Affine.identity()))
