"""Surfaces of tissue: an outline that two images have in common is no evidence that their insides agree."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy import ndimage

from phantoms import Scene
from teralign.grids import Bools, Floats, Grid
from teralign.registration import Image
from teralign.registration.image import compress_brightness
from teralign.transforms import Affine, Stack
from teralign.trust import Verdict, assess
from teralign.trust.surfaces import find_levels

GRID = Grid((72, 80, 88), (2.0, 2.0, 2.0))
SHIFT = Affine.from_parts(np.eye(3), [6.0, -4.0, 8.0])
NONE = Stack((Affine.identity(),))


@cache
def cells(seed: int, shifted: bool = False) -> Floats:
    """Tissue that fills the view; shifted, its place is that of `SHIFT`."""
    scene = Scene.cells(np.array(GRID.extent), count=500, radius=7.0, seed=seed)
    through = SHIFT.inverse().map_points if shifted else None
    return np.asarray(scene.draw(GRID, through, noise=0).array - 200.0)


@cache
def lump(seed: int) -> Bools:
    """A ball with bumps, which fills a quarter of the view."""
    rng = np.random.default_rng(seed)
    axes = np.meshgrid(*[np.linspace(-1, 1, n) for n in GRID.shape], indexing="ij")
    bumps = ndimage.gaussian_filter(rng.normal(size=GRID.shape), 10)
    return np.asarray(np.sqrt(sum(a**2 for a in axes)) + 0.12 * bumps / bumps.std() < 0.9)


def box() -> Bools:
    mask = np.zeros(GRID.shape, bool)
    mask[8:-8, 8:-8, 8:-8] = True
    return mask


def cut(tissue: Floats, outline: Floats | Bools, *, glow: float = 400.0, seed: int = 0) -> Image:
    """Tissue that glows, in an outline, before a dark background with noise."""
    noise = np.random.default_rng(seed).normal(0, 12, GRID.shape)
    return Image(np.clip(200 + outline * (glow + tissue) + noise, 0, 65535).astype(np.uint16), GRID)


def cropped(image: Image, outline: Bools) -> Image:
    """The image with zeros beyond an outline, as a program that cuts images leaves it."""
    return Image(np.where(outline, image.array, 0).astype(np.uint16), GRID)


OUTLINES = {
    "sharp": lambda: (cut(cells(1), lump(3)), cut(0.6 * cells(2), lump(3), seed=1)),
    "blurred": lambda: tuple(
        cut(c, ndimage.gaussian_filter(lump(3).astype(float), 1.5), seed=i)
        for i, c in enumerate((cells(1), cells(2)))
    ),
    "zeros beyond": lambda: tuple(
        cropped(cut(c, lump(4), seed=i), lump(4)) for i, c in enumerate((cells(1), cells(2)))
    ),
    "zeros, then medium, then tissue": lambda: tuple(
        cropped(cut(c, lump(5), seed=i), box()) for i, c in enumerate((cells(1), cells(2)))
    ),
    "the same mask of what counts": lambda: tuple(
        Image(cut(c, lump(4), seed=i).array, GRID, lump(4)) for i, c in enumerate((cells(1), cells(2)))
    ),
}


@pytest.mark.parametrize("kind", OUTLINES)
def test_two_tissues_of_one_outline_are_not_called_good(kind):
    found = assess(*OUTLINES[kind](), NONE)
    assert found.verdict in (Verdict.BAD, Verdict.UNKNOWN)
    assert found.confirmed <= 0.3 * found.examined


def test_one_tissue_in_its_outline_is_good():
    outline = lump(3)
    moved = np.roll(outline, (3, -2, 4), axis=(0, 1, 2))
    found = assess(cut(cells(1), outline), cut(0.6 * cells(1, shifted=True), moved, seed=1), Stack((SHIFT,)))
    assert found.verdict is Verdict.GOOD
    assert found.confirmed == found.examined


def test_a_surface_around_nothing_tells_nothing():
    one, two = (cut(np.zeros(GRID.shape), lump(3), seed=seed) for seed in (0, 1))
    assert assess(one, two, NONE).verdict is Verdict.UNKNOWN


def levels_of(image: Image) -> object:
    counts = np.ones(GRID.shape, bool)
    return find_levels(compress_brightness(image.array.astype(np.float32)), counts)


def test_regions_are_found_where_they_are():
    levels = levels_of(cut(cells(1), lump(3)))
    assert isinstance(levels, np.ndarray)
    apart = np.abs(ndimage.gaussian_filter(lump(3).astype(float), 2) - 0.5) > 0.45
    np.testing.assert_array_equal(levels[apart], lump(3)[apart])


@pytest.mark.parametrize("seed", [1, 2])
def test_tissue_that_fills_the_view_has_no_surface_nor_have_spots(seed):
    assert levels_of(cut(cells(seed), np.ones(GRID.shape))) is None
    spots = np.zeros(GRID.shape)
    spots[tuple(np.random.default_rng(seed).integers(0, n, 300) for n in GRID.shape)] = 40_000
    assert levels_of(cut(ndimage.gaussian_filter(spots, 1.2), np.ones(GRID.shape))) is None
