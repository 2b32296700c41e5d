"""The verdict on maps that are known to be right or wrong."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from phantoms import Scene
from teralign.grids import Grid
from teralign.registration import Image
from teralign.transforms import Affine, Stack
from teralign.trust import Verdict, assess

GRID = Grid((72, 80, 88), (2.0, 2.0, 2.0))
RIGHT = Affine.from_parts(np.eye(3), [6.0, -4.0, 8.0])


@cache
def rounds() -> tuple[Image, Image]:
    """Two rounds of one tissue; `RIGHT` is the map between them."""
    scene = Scene.cells(np.array(GRID.extent), count=500, radius=7.0)
    return scene.draw(GRID), scene.draw(GRID, RIGHT.inverse().map_points, seed=1)


def test_the_true_map_is_good():
    found = assess(*rounds(), Stack((RIGHT,)))
    assert found.verdict is Verdict.GOOD
    assert found.confirmed == found.examined
    assert not found.reasons


@pytest.mark.parametrize("turn", [np.eye(3), np.diag([1.0, -1.0, -1.0]), np.diag([1.0, 1.0, -1.0])])
def test_a_map_to_another_place_is_bad(turn):
    centre = np.array(GRID.extent) / 2
    found = assess(*rounds(), Stack((Affine.from_parts(turn, centre - turn @ centre + [0, 0, 25.0]),)))
    assert found.verdict is Verdict.BAD
    assert found.reasons


def test_bright_and_dark_may_be_exchanged():
    fixed, moving = rounds()
    assert assess(fixed, moving.negative(), Stack((RIGHT,))).verdict is Verdict.GOOD


def test_nothing_is_told_of_images_that_show_nothing():
    fixed, moving = rounds()
    empty = Image(np.zeros_like(moving.array), moving.grid)
    assert assess(fixed, empty, Stack((RIGHT,))).verdict is Verdict.UNKNOWN


def test_threads_change_nothing():
    one, four = (assess(*rounds(), Stack((RIGHT,)), threads=n) for n in (1, 4))
    assert one == four
