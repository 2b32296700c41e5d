import math

import numpy as np
import pytest

from phantoms import Scene, affine_about, cube
from teralign.registration import Image
from teralign.registration.metrics import Windows, mutual_information
from teralign.transforms import Affine

SCENE = Scene.cells()
PAIR = SCENE.draw(cube(48), seed=1), SCENE.draw(cube(48), seed=2)


@pytest.mark.parametrize(("gain", "offset"), [(0.1, 30), (3, -100), (50, 7)])
def test_window_correlation_does_not_see_gain_and_offset(gain, offset):
    fixed, moving = PAIR
    changed = Image(moving.array * np.float32(gain) + np.float32(offset), moving.grid)
    scores = [Windows.of(fixed, image).score(Affine.identity()) for image in (moving, changed)]
    assert scores[1] == pytest.approx(scores[0], abs=1e-4)


def test_window_correlation_does_not_see_slow_light():
    fixed, moving = PAIR
    light = np.linspace(1, 6, 48, dtype=np.float32)[:, None, None]
    shaded = Image((moving.array.astype(np.float32) - 200) * light, moving.grid)
    scores = [Windows.of(fixed, image).score(Affine.identity()) for image in (moving, shaded)]
    assert scores[1] > 0.95 * scores[0] > 0.9


def test_window_correlation_is_the_mean_of_pearsons():
    windows = Windows.of(*PAIR)
    values, inside = PAIR[1].sample(windows.points)
    whole = (inside & windows.inside).all(axis=1)
    windows = Windows(windows.points[whole], windows.values[whole], windows.inside[whole], PAIR[1])
    plain = [np.corrcoef(f, m)[0, 1] for f, m in zip(windows.values, values[whole], strict=True)]
    assert windows.score(Affine.identity()) == pytest.approx(np.mean(plain), abs=1e-5)


def test_mutual_information_sees_any_relation():
    a, b = np.random.default_rng(2).random((2, 20000)).astype(np.float32)
    assert mutual_information(a, (a - 0.5) ** 2) > 1.0
    assert mutual_information(a, b) < 0.05
    assert math.isnan(mutual_information(a, np.zeros_like(a)))


def test_windows_score_best_at_the_truth():
    fixed, moving = SCENE.draw(cube(48), seed=1), SCENE.draw(cube(48), seed=2, gain=500)
    windows = Windows.of(fixed, moving)
    for measure in ("lncc", "mi", "ms"):
        scores = [windows.score(affine_about(np.zeros(3), shift=(0, d, 0)), measure) for d in (0, 2, 4, 8)]
        assert scores == sorted(scores, reverse=True)


def test_windows_outside_have_no_score():
    image = SCENE.draw(cube(32))
    windows = Windows.of(image, image)
    assert math.isnan(windows.score(affine_about(np.zeros(3), shift=(500, 0, 0))))
    masked = Windows.of(Image(image.array, image.grid, np.zeros(image.array.shape, bool)), image)
    assert math.isnan(masked.score(Affine.identity()))
