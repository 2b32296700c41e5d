"""The verdict on maps that are known to be right or wrong."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from phantoms import Scene
from teralign.grids import Grid, Region
from teralign.registration import Image
from teralign.transforms import Affine, DisplacementField, Stack
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


@pytest.mark.parametrize("noise", [0.0, 30.0])
def test_a_moving_image_that_shows_nothing_is_bad_and_two_such_images_tell_nothing(noise):
    fixed, moving = rounds()
    rng = np.random.default_rng(2)
    one, two = (Image(200 + noise * rng.standard_normal(moving.array.shape), moving.grid) for _ in range(2))
    assert assess(fixed, one, Stack((RIGHT,))).verdict is Verdict.BAD
    assert assess(two, one, Stack((RIGHT,))).verdict is Verdict.UNKNOWN


def test_a_map_outside_the_moving_image_tells_nothing():
    away = Affine.from_parts(np.eye(3), [0.0, 0.0, 1000.0])
    assert assess(*rounds(), Stack((away,))).verdict is Verdict.UNKNOWN


def test_a_map_that_is_off_by_some_voxels_is_doubtful():
    near = Affine.from_parts(np.eye(3), [6.0, -4.0, 8.0 + 7.0])
    found = assess(*rounds(), Stack((near,)))
    assert found.verdict is Verdict.DOUBTFUL
    assert sum(block.verdict is Verdict.DOUBTFUL for block in found.blocks) > len(found.blocks) / 2


def test_blocks_say_where_half_of_a_map_is_wrong():
    nodes = GRID.nodes((4, 4, 4))
    values = np.zeros((*nodes.shape, 3), np.float32)
    values[..., nodes.shape[2] // 2 :, 1] = 20.0
    found = assess(*rounds(), Stack((RIGHT, DisplacementField(values, nodes))))
    assert found.verdict is Verdict.DOUBTFUL
    middle = GRID.extent[2] / 2
    right = [b.verdict for b in found.blocks if b.start[2] + b.size[2] < middle - 10]
    wrong = [b.verdict for b in found.blocks if b.start[2] > middle + 10]
    assert right.count(Verdict.GOOD) > 0.8 * len(right)
    assert wrong.count(Verdict.GOOD) < 0.2 * len(wrong)


def test_a_slab_of_few_planes_can_be_judged():
    fixed, moving = rounds()
    planes = Region((30, 0, 0), (38, *GRID.shape[1:]))
    thin = Image(fixed.array[planes.slices], GRID.crop(planes))
    assert assess(thin, moving, Stack((RIGHT,))).verdict is Verdict.GOOD
    away = Affine.from_parts(np.eye(3), [6.0, 20.0, 8.0])
    assert assess(thin, moving, Stack((away,))).verdict is Verdict.BAD


def test_threads_change_nothing():
    one, four = (assess(*rounds(), Stack((RIGHT,)), threads=n) for n in (1, 4))
    assert one == four
