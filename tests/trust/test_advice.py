"""Advice: which measurement gives which sentence, and a good alignment none."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from teralign.grids import Grid
from teralign.registration import StepReport
from teralign.transforms import Affine, Stack
from teralign.trust import Clues, Verdict, advise

GRID = Grid((20, 30, 40), (2.0, 1.0, 1.0), (0.0, 0.0, 0.0))
IDENTITY = Stack()


def scaled(z: float = 1.0, y: float = 1.0, x: float = 1.0, shift: float = 0.0) -> Stack:
    matrix = np.diag([z, y, x, 1.0])
    matrix[2, 3] = shift
    return Stack((Affine(matrix),))


def step(state: str = "improved", **details: int) -> StepReport:
    return StepReport("ransac", state, "", math.nan, 0.5, 1.0, details)  # type: ignore[arg-type]


def causes(transform: Stack = IDENTITY, verdict: Verdict = Verdict.BAD, **others: object) -> list[str]:
    clues = Clues(verdict, transform, GRID, GRID, (2.0, 1.0, 1.0), **others)  # type: ignore[arg-type]
    return [advice.cause for advice in advise(clues)]


@pytest.mark.parametrize("verdict", list(Verdict))
def test_a_usual_map_needs_no_advice(verdict):
    blocks = {"ok": 9, "kept": 1}
    steps = (step(fixed_blobs=900, moving_blobs=900),)
    assert causes(scaled(1.1, 0.95), verdict, steps=steps, blocks=blocks, min_jacobian=0.5) == []


@pytest.mark.parametrize(
    ("expected", "others"),
    [
        ("little overlap", {"transform": scaled(shift=35.0)}),
        ("too few features", {"steps": (step(fixed_blobs=12, moving_blobs=900),)}),
        ("start out of reach", {"steps": (step("kept", fixed_blobs=900, moving_blobs=900),)}),
        ("start out of reach, or smoothing too strong", {"blocks": {"ok": 1, "kept": 9, "masked": 90}}),
        ("smoothing too weak", {"min_jacobian": 0.03, "gain": 0.01}),
        ("smoothing too weak", {"min_jacobian": -0.2, "gain": 0.01}),
        ("squeezed", {"min_jacobian": 0.03, "gain": 0.2}),
        ("mirrored", {"transform": Stack((Affine(np.array(np.diag([1.0, 1.0, -1.0, 1.0]))),))}),
    ],
)
def test_each_measurement_that_is_off_gives_its_advice(expected, others):
    assert expected in causes(**others)


def test_more_smoothing_is_only_for_a_field_that_gains_nothing():
    clues = Clues(Verdict.GOOD, IDENTITY, GRID, GRID, (2.0, 1.0, 1.0), min_jacobian=0.015, gain=0.3)
    (found,) = advise(clues)
    assert (found.cause, found.option) == ("squeezed", None)
    (found,) = advise(replace(clues, gain=0.0))
    assert found.value == "deform: {smoothness: 5}"  # µm: four voxels of 1.26 µm


def test_a_start_that_was_given_is_not_out_of_reach():
    assert causes(steps=(step("kept", fixed_blobs=900, moving_blobs=900),), started=True) == []


def test_a_good_alignment_is_told_of_its_voxel_size_only():
    found = advise(Clues(Verdict.GOOD, scaled(5.0, shift=35.0), GRID, GRID, (2.0, 1.0, 1.0)))
    assert [(advice.option, advice.value) for advice in found] == [("--moving-spacing", "1,1,0.4")]
    assert "along z by 5.00" in found[0].sentence
