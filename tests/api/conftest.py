"""The rounds of this room's tests, and the registration of them."""

from __future__ import annotations

import pytest
import tifffile
from small_rounds import GRID, SPACING, Rounds

import teralign as ta
from phantoms import Scene, affine_about
from phantoms import pair as drawn_pair


@pytest.fixture(scope="session")
def rounds(tmp_path_factory) -> Rounds:
    truth = affine_about(GRID.centre, scale=(1.02, 0.99, 1.01), shift=(4.0, -5.0, 3.0))
    fixed, moving = drawn_pair(Scene.cells(100.0), GRID, GRID, truth)
    folder = tmp_path_factory.mktemp("rounds")
    for name, image in (("fixed", fixed), ("moving", moving)):
        tifffile.imwrite(folder / f"{name}.tif", image.array)
    return Rounds(fixed.array, moving.array, truth, folder)


@pytest.fixture(scope="session")
def found(rounds) -> ta.Registration:
    return ta.align(rounds.fixed, rounds.moving, spacing=SPACING, steps=["ransac", "affine"])
