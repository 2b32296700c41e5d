"""Two rounds of an EASI-FISH section: in-memory alignment as good as the best known."""

import numpy as np
import pytest
from scipy import ndimage

from real_data import REAL_DATA, needs_real_data
from teralign.registration import Image, align
from teralign.registration.config import AffineConfig, RansacConfig
from teralign.transforms import Stack, warp
from teralign.volumes import open_volume

pytestmark = [needs_real_data, pytest.mark.slow]


@pytest.fixture(scope="module")
def images():
    volumes = [open_volume(REAL_DATA / "easifish" / f"{name}.n5" / "lowres") for name in ("fix", "mov")]
    return [Image(volume.read(), volume.grid) for volume in volumes]


@pytest.mark.parametrize("steps", [[RansacConfig()], [AffineConfig()], [RansacConfig(), AffineConfig()]])
def test_the_rounds_are_aligned_as_well_as_by_bigstream(images, steps):
    fixed, moving = images
    found = align(fixed, moving, steps, initial_transform=Stack())
    aligned = warp(moving.array, moving.grid, grid=fixed.grid, region=fixed.grid.region, transform=found.transform)
    f, a = fixed.array.astype(np.float32), aligned.astype(np.float32)
    blurred = ndimage.gaussian_filter(f, 1.0)
    foreground = blurred > np.percentile(blurred, 75)
    covered = foreground & (a > 0)
    assert np.corrcoef(f[covered], a[covered])[0, 1] > 0.734
    blocks = [tuple(slice(16 * k, 16 * k + 16) for k in i) for i in np.ndindex(*(n // 16 for n in f.shape))]
    inside = [b for b in blocks if foreground[b].mean() >= 0.25 and (a[b] > 0).mean() > 0.99]
    assert len(inside) > 1300
    assert np.mean([np.corrcoef(f[b].ravel(), a[b].ravel())[0, 1] for b in inside]) > 0.856
