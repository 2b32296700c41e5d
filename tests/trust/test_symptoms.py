"""Symptoms: each fault that is made shows in its own number, and in the advice."""

from __future__ import annotations

from functools import cache

import numpy as np

from phantoms import Scene
from teralign.grids import Floats, Grid
from teralign.registration import Image
from teralign.transforms import Affine, DisplacementField, Stack, node_positions
from teralign.trust import Clues, Verdict, advise, assess, find_symptoms, unlike

GRID = Grid((72, 80, 88), (2.0, 2.0, 2.0))
SHIFT = Affine.from_parts(np.eye(3), [6.0, -4.0, 8.0])
NONE = Affine.identity()


@cache
def tissue(seed: int = 0) -> Scene:
    return Scene.cells(np.array(GRID.extent), count=500, radius=7.0, seed=seed)


@cache
def rounds() -> tuple[Image, Image]:
    """Two rounds of one tissue, the second shifted."""
    return tissue().draw(GRID), tissue().draw(GRID, SHIFT.inverse().map_points, seed=1)


def causes(fixed: Image, moving: Image, transform: Stack) -> list[str]:
    """The advice on a map that is not good, besides that of trials; the last is that where no trial helps."""
    assert assess(fixed, moving, transform).verdict in (Verdict.DOUBTFUL, Verdict.BAD)
    symptoms = find_symptoms(fixed, moving, transform)
    clues = Clues(Verdict.BAD, transform, GRID, GRID, GRID.spacing, symptoms=symptoms)
    return [advice.cause for advice in [*advise(clues), unlike(symptoms)]]


def bent(points: Floats, by: float = 6.0) -> Floats:
    """Points moved by a wave."""
    moved = points.copy()
    moved[:, 1] += by * np.sin(2 * np.pi * points[:, 2] / 150)
    moved[:, 0] += 0.7 * by * np.cos(2 * np.pi * points[:, 1] / 150)
    return moved


def stiff() -> DisplacementField:
    """A field that follows a hundredth of the wave."""
    nodes = GRID.nodes((8, 8, 8))
    points = node_positions(nodes)
    return DisplacementField((bent(points, 0.06) - points).reshape(*nodes.shape, 3).astype(np.float32), nodes)


def test_the_true_map_has_no_symptom():
    found = find_symptoms(*rounds(), Stack((SHIFT,)))
    assert found.drift is not None
    assert found.drift.um < 0.5
    assert found.coarse is not None
    assert found.coarse > 0.9
    assert found.pattern == 0


def test_a_field_that_is_too_stiff_is_told_from_a_linear_map():
    fixed, moving = tissue().draw(GRID, bent, seed=1), rounds()[1]
    assert "smoothing too strong" in causes(fixed, moving, Stack((SHIFT, stiff())))
    assert "tissue that bends" in causes(fixed, moving, Stack((SHIFT,)))


def test_a_start_that_is_off_everywhere_is_told_by_how_much():
    fixed, moving = rounds()
    assert "shifted" in causes(fixed, moving, Stack((NONE,)))
    drift = find_symptoms(fixed, moving, Stack((NONE,))).drift
    assert drift is not None
    np.testing.assert_allclose(drift.middle, [6.0, -4.0, 8.0], atol=0.1)


def enveloped(image: Image) -> Image:
    """The image, brighter in its middle by far."""
    axes = np.meshgrid(*[np.linspace(-1, 1, n) for n in image.grid.shape], indexing="ij")
    light = np.exp(-4 * sum(axis**2 for axis in axes))
    return Image((200 + 4 * (image.array.astype(np.float64) - 100) * light).astype(np.uint16), image.grid)


def cut_out(image: Image) -> Image:
    """The image in a sharp outline, before a dark background."""
    axes = np.meshgrid(*[np.linspace(-1, 1, n) for n in image.grid.shape], indexing="ij")
    inside = sum(axis**2 for axis in axes) < 0.9**2
    return Image((200 + inside * (300 + image.array.astype(np.float64))).astype(np.uint16), image.grid)


def test_other_structures_of_one_outline_may_be_another_channel():
    fixed, other = rounds()[0], tissue(5).draw(GRID, seed=1)
    assert causes(enveloped(fixed), enveloped(other), Stack((NONE,))) == ["another channel, or other tissue"]
    assert causes(cut_out(fixed), cut_out(other), Stack((NONE,))) == ["another channel, or other tissue"]
    assert causes(fixed, other, Stack((NONE,))) == ["different structures"]


def test_a_pattern_of_the_camera_is_told_from_tissue_at_its_place():
    fixed, other = rounds()[0], tissue(5).draw(GRID, seed=1)
    pattern = 90 * np.random.default_rng(7).normal(size=GRID.shape[1:])
    one, two = (Image(np.clip(i.array + pattern, 0, 65535).astype(np.uint16), GRID) for i in (fixed, other))
    assert "pattern of the camera" in causes(one, two, Stack((SHIFT,)))
    # The same tissue at the same voxels is none.
    assert "pattern of the camera" not in causes(fixed, tissue().draw(GRID, seed=4), Stack((SHIFT,)))
