"""The dark level from the noise of photons."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from lit_planes import counted, exposed, light, rms, scenes
from teralign.correction import estimate_shading
from teralign.correction.kernels import block_means
from teralign.correction.photons import PhotonNoise

SIDE = 8  # of blocks
SHAPE = (160, 192)
LIGHT = light(SHAPE)


def level(planes):
    """The dark level that the noise of planes tells."""
    shape = (planes.shape[1] // SIDE, planes.shape[2] // SIDE)
    noise, means = PhotonNoise(len(planes), shape, SIDE), np.empty((len(planes), *shape), np.float32)
    for n, plane in enumerate(planes):
        block_means(plane, SIDE, np.inf, means[n], np.empty(shape, np.float32))
        noise.add(n, plane)
    return noise.level(means)


@pytest.mark.parametrize(("dark", "per_photon", "read"), [(200, 8, 1.6), (100, 2, 0), (1000, 20, 1)])
def test_the_level_is_where_photons_end(dark, per_photon, read):
    found = level(counted(scenes(60, shape=SHAPE), LIGHT, dark=dark, per_photon=per_photon, read=read))
    assert found.dark == pytest.approx(dark, abs=3 * found.error)
    assert found.error < 4


def test_a_tilt_of_the_level_is_found_and_none_where_there_is_none():
    planes = counted(scenes(120, shape=SHAPE), LIGHT)
    assert level(planes).tilt == (0, 0)
    y, x = (np.linspace(-0.5, 0.5, n) for n in SHAPE)
    ramp = 12 * y[:, None] - 8 * x
    tilted = level(np.rint(planes + ramp).astype(np.uint16))
    assert tilted.dark == pytest.approx(200, abs=3 * tilted.error)
    assert tilted.tilt == pytest.approx((12, -8), abs=2)
    assert np.abs(tilted.ramp(SHAPE) - ramp).max() < 2
    found = estimate_shading(np.rint(planes + ramp).astype(np.uint16), pattern=False)
    assert rms(found.gain[0], LIGHT) < 2
    assert np.abs(found.dark - ramp - 200).max() < 2 + 3 * tilted.error


def test_errors_are_what_they_say():
    """Of twelve estimates, about two thirds lie within their error, and their scatter is that."""
    found = [level(counted(scenes(60, seed, SHAPE), LIGHT, seed=seed)) for seed in range(12)]
    off = np.array([(each.dark - 200) / each.error for each in found if each is not None])
    assert len(off) > 8
    assert 0.3 < np.sqrt((off**2).mean()) < 1.6


def binned(planes):
    """Means of 2 x 2 voxels, which leave the tissue sharper than the voxels can show."""
    return planes.reshape(len(planes), SHAPE[0] // 2, 2, SHAPE[1] // 2, 2).mean(axis=(2, 4))


@pytest.mark.parametrize(
    "changed",
    [
        lambda planes: ndimage.gaussian_filter(planes.astype(float), (0, 0.7, 0.7)),
        lambda planes: ndimage.median_filter(planes, (1, 3, 3)),
        lambda planes: 20 * np.sqrt(np.maximum(planes - 180.0, 1)),
        binned,
    ],
    ids=["smoothed", "median", "root", "binned"],
)
def test_noise_of_changed_planes_tells_nothing(changed):
    planes = counted(scenes(60, shape=SHAPE), LIGHT)
    assert level(planes) is not None
    assert level(np.rint(changed(planes)).astype(np.uint16)) is None


def test_noise_that_is_the_same_everywhere_tells_nothing():
    assert level(exposed(scenes(60, shape=SHAPE), LIGHT)) is None


@pytest.mark.parametrize("lit", [0, 1, 30])
def test_planes_without_noise_tell_nothing(lit):
    """Planes of one value, and of which some are, as beside the tissue in computed tiles."""
    planes = np.full((60, *SHAPE), 200, np.uint16)
    planes[:lit] = counted(scenes(60, shape=SHAPE), LIGHT)[:lit]
    assert level(planes) is None


@pytest.mark.parametrize("shape", [(32, 40), (48, 64)])
def test_small_planes_have_blocks_that_the_filter_does_not_reach(shape):
    found = estimate_shading(counted(scenes(40, shape=shape), light(shape)), pattern=False)
    assert np.isfinite(found.gain).all()


def test_noise_that_is_cut_off_at_0_tells_nothing():
    assert level(counted(scenes(60, shape=SHAPE), LIGHT, dark=5)) is None


def test_dust_and_hot_voxels_do_not_count():
    planes = counted(scenes(60, shape=SHAPE), LIGHT)
    clean = level(planes)
    hot = np.random.default_rng(0).integers((0, 0), SHAPE, (5, 2))
    planes[:, hot[:, 0], hot[:, 1]] += 150
    found = level(planes)
    assert found.dark == pytest.approx(clean.dark, abs=1.5 * clean.error)


def test_planes_with_more_voxels_than_it_takes_are_read_in_part(monkeypatch):
    planes = counted(scenes(120, shape=SHAPE), LIGHT)
    monkeypatch.setattr("teralign.correction.photons._VOXELS", planes.size / 2)
    found = level(planes)
    assert found.dark == pytest.approx(200, abs=3 * found.error)


def test_the_gain_is_as_good_as_with_the_level_known():
    planes = counted(scenes(60, shape=SHAPE), LIGHT)
    known, found = (estimate_shading(planes, dark=dark, pattern=False) for dark in (200, None))
    assert found.dark[0, 0] == pytest.approx(200, abs=3 * found.dark_error)
    assert rms(found.gain[0], LIGHT) < rms(known.gain[0], LIGHT) + 0.7
    assert found.error > known.error
