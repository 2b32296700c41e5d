"""The real pair of imaging rounds: spacing, levels and content."""

import numpy as np
import pytest

from real_data import REAL_DATA, needs_real_data
from teralign.grids import Region
from teralign.volumes import open_volume

pytestmark = needs_real_data


@pytest.mark.parametrize(("name", "depth"), [("fix", 149), ("mov", 144)])
def test_both_scales_of_a_round_show_the_same_tissue_in_the_same_place(name, depth):
    container = REAL_DATA / "easifish" / f"{name}.n5"
    low, high = open_volume(container / "lowres"), open_volume(container / "highres")
    assert (low.grid.shape, high.grid.shape) == ((depth, 241, 456), (2 * depth, 483, 384))
    assert low.dtype == high.dtype == np.dtype("uint16")
    np.testing.assert_allclose(low.grid.spacing, (1.68, 1.84, 1.84))
    np.testing.assert_allclose(high.grid.spacing, (0.84, 0.92, 0.92))
    np.testing.assert_allclose(low.grid.origin, (0.42, 0.46, 0.46))
    region = Region((40, 60, 60), (72, 124, 124))
    fine = Region((80, 120, 120), (144, 248, 248))
    np.testing.assert_allclose(low.grid.crop(region).extent, high.grid.crop(fine).extent)
    means = high.read(fine).reshape(32, 2, 64, 2, 64, 2).mean((1, 3, 5))
    assert np.corrcoef(means.ravel(), low.read(region).ravel())[0, 1] > 0.9


def test_a_level_is_the_mean_over_what_lies_under_it():
    container = REAL_DATA / "easifish" / "fix.n5"
    low, high = open_volume(container / "lowres"), open_volume(container / "highres")
    region = Region((40, 60, 60), (72, 124, 124))
    block = low.read(region).astype(float)
    correlation = {}
    for shift in (-1, 0, 1):
        fine = Region((80, 120, 120), (144, 248, 248)).shift((0, 0, shift))
        means = high.read(fine).reshape(32, 2, 64, 2, 64, 2).mean((1, 3, 5))
        correlation[shift] = np.corrcoef(means.ravel(), block.ravel())[0, 1]
    assert max(correlation, key=correlation.__getitem__) == 0


def test_atlas_volumes_keep_their_spacing():
    volume = open_volume(REAL_DATA / "allen" / "annotation_100.nrrd")
    assert volume.grid.spacing == (100, 100, 100)
    assert volume.grid.shape == (114, 80, 132)
    assert volume.read().max() > 2**16
