"""The bias of a volume: found on a coarse scale, and taken out of every voxel, at the edges too."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from teralign.correction import apply_bias, estimate_bias
from teralign.errors import InputError
from teralign.grids import Grid, Region


def slope_of(grid):
    """A gain that is linear along each axis, (z, y, x) of a grid."""
    axes = np.meshgrid(
        *(o + s * np.arange(n) for o, s, n in zip(grid.origin, grid.spacing, grid.shape, strict=True)), indexing="ij"
    )
    return (1 + sum(a * k for a, k in zip(axes, (2e-3, 1e-3, -5e-4), strict=True))).astype(np.float32)


@pytest.mark.parametrize("factors", [(8, 8, 8), (1, 8, 8), (2, 8, 4), (1, 1, 1)])
def test_gain_is_neither_zero_at_the_far_edges_nor_shifted_by_half_a_voxel(factors):
    """A mean over 8 voxels lies at their middle; beyond the last one the gain goes on, down to the last voxel."""
    fine = Grid((16, 128, 120), (2.0, 0.5, 0.5), (10.0, -4.0, 7.0))
    coarse = fine.downsample(factors)
    ones = np.ones(fine.shape, np.uint8)
    found = apply_bias(ones, fine, fine.region, slope_of(coarse), coarse)
    np.testing.assert_allclose(found, slope_of(fine), rtol=1e-5)


def test_a_region_has_the_values_of_the_whole():
    fine = Grid((9, 30, 31), (1.0, 1.0, 1.0))
    coarse = fine.downsample((4, 4, 4))
    gain = np.random.default_rng(0).uniform(0.5, 2, coarse.shape).astype(np.float32)
    voxels = np.random.default_rng(1).integers(0, 60000, fine.shape).astype(np.uint16)
    whole = apply_bias(voxels, fine, fine.region, gain, coarse)
    region = Region((2, 11, 5), (9, 30, 17))
    np.testing.assert_array_equal(apply_bias(voxels[region.slices], fine, region, gain, coarse), whole[region.slices])


@pytest.mark.parametrize("shape", [(8, 24, 24), (2, 32, 32)])
def test_bias_of_tissue_in_the_dark_is_found(shape):
    rng = np.random.default_rng(0)
    _, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    texture = ndimage.gaussian_filter(rng.normal(size=shape), 0.7)
    tissue = y**2 + x**2 < 0.8
    clear = np.where(tissue, 1000 * np.exp(0.2 * texture / texture.std()), 20)
    bias = np.exp(0.5 * y - 0.4 * x**2)
    gain = estimate_bias((clear * bias).astype(np.float32), (10.0, 10.0, 10.0))
    left = np.log(gain * bias)[tissue]
    assert left.std() < 0.6 * np.log(bias)[tissue].std()
    assert np.log(gain)[tissue].mean() == pytest.approx(0, abs=1e-3)


def test_a_volume_without_tissue_is_refused():
    with pytest.raises(InputError, match="hardly a voxel"):
        estimate_bias(np.zeros((4, 8, 8), np.float32), (1.0, 1.0, 1.0))
