"""Voxels without data: found where there are some, and never where there is an image."""

import numpy as np
import pytest
from scipy import ndimage

from phantoms import Scene, affine_about, cube, errors, pair
from teralign.grids import Grid
from teralign.registration import Image, align, find_foreground
from teralign.registration.config import AffineConfig, DeformConfig, RansacConfig
from teralign.registration.padding import fill, find_padding
from teralign.transforms import Stack

SHAPE = (40, 56, 72)
Z, Y, X = np.meshgrid(*[np.arange(n) for n in SHAPE], indexing="ij")
NOISE = np.random.default_rng(0).normal(1000, 60, SHAPE).astype(np.uint16)


def stitched():
    """Two tiles, one beside the other and some voxels lower."""
    left, right = (X < 40) & (Y >= 6), (X >= 36) & (Y < 48)
    return ~(left | right)


PADDINGS = {
    "all around": ~((Z >= 5) & (Z < 35) & (Y >= 8) & (Y < 50) & (X >= 3) & (X < 60)),
    "at one face": X >= 60,
    "a voxel thick": ~((Z > 0) & (Z < 39) & (Y > 0) & (Y < 55) & (X > 0) & (X < 71)),
    "deskewed": (X < 0.6 * Z) | (X > 48 + 0.6 * Z),
    "turned": (X + 0.4 * Y < 22) | (X + 0.4 * Y > 72) | (Y - 0.4 * X < -14),
    "stitched": stitched(),
}


@pytest.mark.parametrize("value", [0, 270])
@pytest.mark.parametrize("kind", PADDINGS)
def test_padding_is_found(kind, value):
    truth = PADDINGS[kind]
    found = find_padding(np.where(truth, value, NOISE).astype(np.uint16))
    assert found is not None
    assert found[truth].all()
    inner = ndimage.binary_erosion(~truth, np.ones((3, 3, 3)), border_value=1)
    assert not found[inner].any()


def test_padding_of_a_few_planes_is_found():
    array = NOISE[:3].copy()
    array[:, :, :10] = 0
    found = find_padding(array)
    assert found is not None
    assert found[:, :, :11].all()
    assert not found[:, :, 11:].any()


def ball(centre, radius):
    return sum((a - c) ** 2 for a, c in zip((Z, Y, X), centre, strict=True)) < radius**2


def scattered():
    rng = np.random.default_rng(1)
    return np.any([ball(rng.uniform(0, SHAPE), 5) for _ in range(30)], axis=0)


TISSUE = sum(((a - n / 2) / (n / 2.4)) ** 2 for a, n in zip((Z, Y, X), SHAPE, strict=True)) < 1
IMAGES = {
    "a camera": NOISE,
    "eight bits, mostly dark": np.random.default_rng(2).poisson(0.2, SHAPE).astype(np.uint8),
    "tissue on black": np.where(TISSUE, NOISE, 0),
    "cells on black": np.where(scattered(), NOISE, 0),
    "one value": np.full(SHAPE, 7, np.uint16),
}


@pytest.mark.parametrize("kind", IMAGES)
def test_an_image_is_no_padding(kind):
    assert find_padding(IMAGES[kind]) is None


def test_gaps_continue_the_data_beside_them():
    array = np.arange(5 * 6 * 7, dtype=np.float32).reshape(5, 6, 7)
    data = np.ones(array.shape, bool)
    data[:, :2] = data[:, :, 5:] = data[2, 3, 3] = False
    filled = fill(array, data)
    np.testing.assert_array_equal(filled[data], array[data])
    np.testing.assert_array_equal(filled[:, :2, :5], np.repeat(array[:, 2:3, :5], 2, axis=1))
    np.testing.assert_array_equal(filled[:, 2:, 5:], np.repeat(array[:, 2:, 4:5], 2, axis=2)[:, :])
    assert filled[2, 3, 3] == array[1, 3, 3]
    assert (filled[:, :2, 5:] == array[:, 2:3, 4:5]).all()


SCENE, GRID = Scene.cells(96.0, count=160), cube(64, 1.5)
TRUTH = affine_about(GRID.centre, rotation=(2, -3, 5), shift=(2.0, -4.0, 3.0))
INNER = Grid((40, 36, 36), GRID.spacing, GRID.to_physical((12, 14, 14)))


@pytest.fixture(scope="module")
def images():
    """Two images of known truth."""
    return pair(SCENE, GRID, GRID, TRUTH)


def padded(image, value):
    """The image with a rim of one value, which covers a third of the field of view."""
    array = image.array.astype(np.float32)
    rim = np.ones(array.shape, bool)
    rim[5:-5, 9:-9, 9:-9] = False
    array[rim] = value
    return Image(array, image.grid)


@pytest.mark.parametrize("value", [0, np.nan])
def test_padding_moves_no_alignment(images, value):
    plain = align(*images, [RansacConfig(), AffineConfig()], initial_transform=Stack()).transform
    rims = [padded(image, value).finite().without_padding() for image in images]
    steps = [RansacConfig(), AffineConfig(), DeformConfig()]
    found = align(*rims, steps, initial_transform=Stack()).transform
    assert errors(plain.map_points, TRUTH.map_points, INNER).mean() < 0.1
    assert errors(found.map_points, TRUTH.map_points, INNER).mean() < 0.15
    assert errors(found.map_points, TRUTH.map_points, INNER).max() < 0.75


def test_padding_is_no_tissue(images):
    image = padded(images[0], 0).without_padding()
    found = find_foreground(image, margin=3.0)
    assert found[10:-10, 14:-14, 14:-14].mean() > 0.9
    assert not found[:5].any()
    assert not found[:, :, :9].any()
