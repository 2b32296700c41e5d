import numpy as np
import pytest
from scipy import ndimage as ndi

from teralign.evaluation import Similarity, similarity


@pytest.fixture
def image():
    noise = np.random.default_rng(0).normal(size=(48, 64, 48))
    return ndi.gaussian_filter(noise, 2).astype(np.float32)


def test_an_image_is_like_itself_whatever_its_brightness(image):
    result = similarity(image, 3 * image + 7, np.ones(image.shape, bool))
    assert result.ncc == pytest.approx(1, abs=1e-5)
    assert result.lncc_mean == pytest.approx(1, abs=1e-4)
    assert result.foreground_covered == 1
    assert 0 < result.lncc_blocks <= 36


def test_an_unrelated_image_is_not(image):
    result = similarity(image, image[::-1, ::-1, ::-1].copy(), np.ones(image.shape, bool))
    assert abs(result.ncc) < 0.3 and abs(result.lncc_mean) < 0.3


def test_what_is_not_covered_does_not_count(image):
    covered = np.zeros(image.shape, bool)
    covered[:, :32] = True
    aligned = np.where(covered, image, 0)
    result = similarity(image, aligned, covered)
    assert result.ncc == pytest.approx(1, abs=1e-5)
    assert 0.3 < result.foreground_covered < 0.7


def test_without_overlap_there_is_nothing_to_say(image):
    result = similarity(image, np.zeros_like(image), np.zeros(image.shape, bool))
    assert result == Similarity(None, None, None, lncc_blocks=0, foreground_covered=0.0)


def test_a_volume_smaller_than_a_block_has_no_local_correlation():
    image = np.random.default_rng(0).normal(size=(10, 20, 20)).astype(np.float32)
    result = similarity(image, image, np.ones(image.shape, bool))
    assert result.lncc_mean is None and result.ncc == pytest.approx(1)
