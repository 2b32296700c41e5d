"""Tissue of which it is known where it ends, in front of backgrounds of many kinds."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

import phantoms
from teralign.registration import Image, find_foreground

GRID = phantoms.cube(72, 2.5)
ALL = np.ones(GRID.shape, bool)
RAMP = np.linspace(0, 1, GRID.shape[2])
"""A slow gradient along x."""


def ball(radius: float, *centre: float) -> np.ndarray:
    """Voxels within `radius` of `centre`, both as shares of the volume."""
    index = np.indices(GRID.shape) / np.reshape(GRID.shape, (3, 1, 1, 1))
    return sum((i - c) ** 2 for i, c in zip(index, centre, strict=True)) < radius**2


def slab(share: float) -> np.ndarray:
    """The last part of the volume along x."""
    return np.broadcast_to(1 - share < RAMP, GRID.shape)


BALL = ball(0.32, 0.5, 0.5, 0.5)
TWO = ball(0.2, 0.3, 0.3, 0.3) | ball(0.2, 0.7, 0.7, 0.65)


@pytest.fixture(scope="module")
def tissue() -> np.ndarray:
    """Bright cells in a dim matrix that is a little brighter than nothing; counts."""
    scene = phantoms.Scene.cells(180.0, count=400, seed=1)
    return scene.draw(GRID, noise=0).array.astype(np.float64) - 80


def camera(signal: np.ndarray, noise: float = 20.0) -> Image:
    """What a camera with an offset and noise makes of a signal."""
    counts = 200 + signal + noise * np.random.default_rng(0).standard_normal(GRID.shape)
    return Image(np.clip(counts, 0, 65535).astype(np.uint16), GRID)


def overlap(image: Image, truth: np.ndarray) -> float:
    """Intersection over union with the truth, both a voxel larger than it."""
    found, true = find_foreground(image, margin=2.5), ndimage.maximum_filter(truth, 3)
    return (found & true).sum() / (found | true).sum()


@pytest.mark.parametrize(
    ("truth", "background", "noise"),
    [
        (BALL, 0.0, 20.0),
        (BALL, 400 * RAMP, 20.0),
        (BALL, 0.0, 100.0),
        (BALL, 0.0, 0.0),
        (TWO, 100 * RAMP, 20.0),
        (slab(0.6), 50 * RAMP, 20.0),
        (slab(0.85), 0.0, 20.0),
    ],
    ids=["ball", "gradient", "noise", "no noise", "two pieces", "cut by the faces", "little background"],
)
def test_tissue_is_found_where_it_is(tissue, truth, background, noise):
    assert overlap(camera(tissue * truth + background, noise), truth) > 0.85


def test_bright_field_shows_dark_tissue(tissue):
    image = camera(tissue * BALL + 100 * RAMP)
    assert overlap(Image(5000 - np.minimum(image.array, 5000), GRID), BALL) > 0.85


def test_a_thing_without_texture_is_found_by_its_brightness():
    assert overlap(camera(500.0 * slab(0.5) + 50 * RAMP), slab(0.5)) > 0.9


def test_nothing_of_the_tissue_is_left_out_with_a_margin(tissue):
    found = find_foreground(camera(tissue * BALL + 400 * RAMP), margin=10.0)
    assert found[BALL].all()
    assert not found[~ndimage.maximum_filter(BALL, 19)].any()


@pytest.mark.parametrize("content", ["tissue", "cells without a matrix", "noise", "flat"])
def test_all_counts_where_no_background_can_be_told(tissue, content):
    signal = {"tissue": tissue, "cells without a matrix": tissue - 120}.get(content, 0.0 * tissue)
    assert find_foreground(camera(signal, 0.0 if content == "flat" else 20.0), margin=2.5).all()


def test_dirt_is_no_tissue(tissue):
    dirt = ball(0.04, 0.1, 0.1, 0.9)
    found = find_foreground(camera(tissue * (BALL | dirt)), margin=2.5)
    assert found[BALL].all()
    assert not found[dirt].any()


def test_what_the_mask_leaves_out_says_nothing(tissue):
    image = camera(tissue * BALL)
    spoilt = np.where(slab(0.1), np.uint16(60000), image.array)
    assert overlap(Image(spoilt, GRID, ~slab(0.1)), BALL) > 0.85
