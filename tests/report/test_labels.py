"""Labels are told from images of light."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage as ndi

from teralign.grids import Grid
from teralign.report import looks_like_labels
from teralign.volumes import Chunking, create_volume, open_volume

SHAPE = (40, 96, 96)
RNG = np.random.default_rng(0)
NOISE = RNG.normal(size=SHAPE)
SMOOTH = ndi.gaussian_filter(NOISE, 3)
SMOOTH /= SMOOTH.std()


def nuclei(rng=RNG):
    """Objects about six voxels wide with numbers from 1, on 0."""
    found, _ = ndi.label(ndi.gaussian_filter(rng.normal(size=SHAPE), 2) > 0.05)
    return found


LABELS = {
    "objects": nuclei().astype(np.uint32),
    "touching objects": (np.digitize(SMOOTH, np.linspace(-2, 2, 6)) * 37 % 101 + 1).astype(np.uint16),
    "a mask": (SMOOTH > 0).astype(np.uint8) * 255,
    "tissue classes": np.digitize(SMOOTH, (-0.5, 0.5, 1.0)).astype(np.uint8),
    "signed": (nuclei() * 3).astype(np.int32),
}
LIGHT = {
    "a camera": np.clip(300 + 100 * SMOOTH + 10 * NOISE, 0, None).astype(np.uint16),
    "dim and of 8 bits": np.clip(6 + 2 * SMOOTH + 2 * NOISE, 0, 255).astype(np.uint8),
    "smooth and of 8 bits": np.clip(60 + 20 * SMOOTH, 0, 255).astype(np.uint8),
    "background cut off": np.clip(200 * SMOOTH + 20 * NOISE, 0, None).astype(np.uint16),
    "floats": nuclei().astype(np.float32),
    "nothing": np.zeros(SHAPE, np.uint8),
    "photons, counted": RNG.poisson(np.clip(0.6 + 0.3 * SMOOTH, 0, None)).astype(np.uint8),
}


def verdict(array, folder):
    grid = Grid(array.shape, (1.0, 1.0, 1.0))
    writer = create_volume(folder / "a.n5", grid=grid, dtype=array.dtype, chunking=Chunking((16, 32, 32)), levels=1)
    writer.write(grid.region, array)
    return looks_like_labels(open_volume(folder / "a.n5/s0"))


@pytest.mark.parametrize("name", LABELS)
def test_labels_are_labels(name, tmp_path):
    assert verdict(LABELS[name], tmp_path)


@pytest.mark.parametrize("name", LIGHT)
def test_images_of_light_are_not(name, tmp_path):
    assert not verdict(LIGHT[name], tmp_path)
