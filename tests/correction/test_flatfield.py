"""The flat field: found on planes of known light, kept in a file, and taken out of tiles."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from lit_planes import SHAPE, exposed, light, lit_from_beside, rms, scenes
from teralign.correction import FlatField, estimate_shading, read_flatfield, write_flatfield
from teralign.errors import InputError
from teralign.grids import Region


def test_gain_is_found_with_a_known_dark_level():
    found = estimate_shading(exposed(scenes(60), light()), dark=200)
    assert rms(found.gain[0], light()) < 2
    assert found.gain.mean() == pytest.approx(1, abs=1e-5)
    assert found.planes == 60 and found.dark_error == 0
    assert np.all(found.dark == 200)


def test_dark_level_is_found_with_the_gain():
    found = estimate_shading(exposed(scenes(120), light()))
    assert found.dark[0, 0] == pytest.approx(200, abs=5)
    assert rms(found.gain[0], light()) < 2.5


def test_a_dark_frame_is_taken_as_it_is():
    frame = np.linspace(150, 250, SHAPE[1], dtype=np.float32) * np.ones(SHAPE, np.float32)
    found = estimate_shading(exposed(scenes(60), light(), dark=frame), dark=frame)
    assert rms(found.gain[0], light()) < 2
    np.testing.assert_array_equal(found.dark, frame)


def test_bleaching_and_bright_structures_leave_the_gain_as_it_is():
    planes = scenes(60) * np.linspace(1, 0.3, 60)[:, None, None]
    for n, (y, x) in enumerate(np.random.default_rng(5).integers(0, 80, (60, 2))):
        planes[n, y : y + 12, x : x + 20] += 5000
    assert rms(estimate_shading(exposed(planes, light()), dark=200).gain[0], light()) < 3


def test_saturated_and_empty_planes_are_left_out():
    planes = exposed(scenes(60), light())
    planes[:5], planes[5:10] = 65535, 0
    assert rms(estimate_shading(planes, dark=200).gain[0], light()) < 2


def test_few_planes_of_even_light_give_an_even_gain():
    found = estimate_shading(exposed(scenes(10), np.ones(SHAPE)), dark=200)
    assert found.gain.std() < 0.04


def test_spots_of_dust_are_part_of_the_gain():
    y, x = np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij")
    dust = 1 - 0.5 * np.exp(-((y - 40) ** 2 + (x - 70) ** 2) / 18)
    found = estimate_shading(exposed(scenes(80), light() * dust), dark=200)
    clean = estimate_shading(exposed(scenes(80), light()), dark=200)
    assert (found.gain[0] / light())[40, 70] == pytest.approx(0.5, abs=0.08)
    assert clean.spots < 1e-3 < found.spots < 0.05


def test_each_section_has_its_own_gain():
    gains = [light(centre=(0, -0.5)), light(centre=(0, 0.5))]
    planes = np.concatenate([exposed(scenes(60, seed), gain) for seed, gain in enumerate(gains)])
    found = estimate_shading(planes, dark=200, sections=[range(60), range(60, 120)], pattern=False)
    assert all(rms(a, b) < 3 for a, b in zip(found.gain, gains, strict=True))


def test_light_that_is_added_is_not_taken_for_gain():
    planes, glow = lit_from_beside()
    found = estimate_shading(planes, dark=200)
    assert rms(found.gain[0], light()) < 3
    assert found.dark.mean() == pytest.approx(200, abs=0.1)
    blank = ((planes[::2] - found.dark) / found.gain[0]).mean(axis=0)
    assert np.std(ndimage.uniform_filter(blank, 9)) < 3 < np.std(glow) / 3


def test_planes_without_light_are_refused():
    with pytest.raises(InputError, match="empty, or saturated"):
        estimate_shading(np.zeros((20, *SHAPE), np.uint16))
    with pytest.raises(InputError, match="7 planes"):
        estimate_shading(exposed(scenes(7), light()))


def field(sections=1):
    gain = np.stack([light(strength=0.2 + 0.2 * n) for n in range(sections)])[None]
    dark = np.full((1, *SHAPE), 200, np.float32)
    return FlatField(gain, dark, np.linspace(0, 10, sections), ("488",))


def test_a_region_is_corrected_as_the_formula_says():
    raw = exposed(scenes(6), light())
    whole = field().correct(raw, 0, Region((0, 0, 0), raw.shape))
    np.testing.assert_allclose(whole, (raw - 200.0) / field().gain[0], rtol=2e-6)
    part = Region((1, 20, 30), (4, 50, 101))
    np.testing.assert_array_equal(field().correct(raw[part.slices], 0, part), whole[part.slices])


def test_dark_counts_below_the_level_become_negative_and_not_65535():
    raw = np.full((1, *SHAPE), 190, np.uint16)
    assert field().correct(raw, 0, Region((0, 0, 0), raw.shape)).max() < 0


def test_gain_between_sections_is_interpolated():
    raw, two = exposed(scenes(11), light()), field(2)
    found = two.correct(raw, 0, Region((0, 0, 0), raw.shape))
    middle = (two.gain[0, 0] + two.gain[0, 1]) / 2
    np.testing.assert_allclose(found[5], (raw[5] - 200.0) / middle, rtol=1e-5)
    np.testing.assert_allclose(found[10], (raw[10] - 200.0) / two.gain[0, 1], rtol=1e-5)


def test_a_file_gives_back_the_flat_field(tmp_path):
    write_flatfield(tmp_path / "f.npz", field(2))
    found = read_flatfield(tmp_path / "f.npz")
    assert found.digest() == field(2).digest() != field(1).digest()
    assert found.channels == ("488",)
    np.testing.assert_array_equal(found.z, [0, 10])


@pytest.mark.parametrize("content", [b"", b"PK no archive", b"text"])
def test_another_file_is_no_flat_field(tmp_path, content):
    (tmp_path / "f.npz").write_bytes(content)
    with pytest.raises(InputError, match="is not a flat field"):
        read_flatfield(tmp_path / "f.npz")


def test_an_absent_file_is_named(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_flatfield(tmp_path / "f.npz")
