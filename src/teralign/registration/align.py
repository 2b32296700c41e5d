"""The steps of an alignment, one after the other, each from the transform that the steps before it found.

The transform so far is a stack that maps fixed to moving points; a step finds T with x_moving = initial(T(x)), which
is appended: `initial ∘ T₁ ∘ T₂ …`, last applied first. A step that does not improve its metric adds no transform,
only its report.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from threadpoolctl import threadpool_limits

from teralign.grids import Grid
from teralign.registration.config import (
    AffineConfig,
    DeformConfig,
    RandomConfig,
    RansacConfig,
    RigidConfig,
    StepConfig,
)
from teralign.registration.image import Image
from teralign.registration.linear import linear
from teralign.registration.random_search import random_search
from teralign.registration.ransac import ransac
from teralign.registration.simpleitk_deform import simpleitk_deform
from teralign.registration.steps import Detail, StepContext, StepResult
from teralign.transforms import Stack

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StepReport:
    """The outcome of one step. Higher metrics are better; NaN: not measured."""

    name: str
    state: Literal["improved", "kept"]
    reason: str
    metric_before: float
    metric_after: float
    seconds: float
    details: Mapping[str, Detail]


@dataclass(frozen=True)
class Alignment:
    """The transform that the steps found, to be applied before the initial one, and a report for each step."""

    transform: Stack
    reports: tuple[StepReport, ...]


def align(
    fixed: Image,
    moving: Image,
    steps: Sequence[StepConfig],
    *,
    initial_transform: Stack,
    field_grid: Grid | None = None,
    seed: int = 0,
    threads: int = 1,
) -> Alignment:
    """Align the moving image to the fixed one, beginning at `initial_transform` (fixed to moving points, µm).

    `field_grid` holds the nodes of a displacement field that a deform step finds; by default the step chooses. The
    same input, seed and steps give the same result, whatever the number of threads.
    """
    context = StepContext(initial_transform, field_grid, seed, threads)
    # The products of linear algebra here are small, and on several threads their sums differ in the last bits.
    with threadpool_limits(1, user_api="blas"):
        return _align(fixed.finite(), moving.finite(), steps, context)


def _align(fixed: Image, moving: Image, steps: Sequence[StepConfig], context: StepContext) -> Alignment:
    found = Stack()
    reports = []
    for step in steps:
        began = time.monotonic()
        so_far = replace(context, initial_transform=context.initial_transform @ found)
        result = _run(step, fixed, moving, so_far)
        if result.transform is not None:
            found = found @ result.transform
        report = StepReport(
            step.name,
            "kept" if result.transform is None else "improved",
            result.reason,
            result.metric_before,
            result.metric_after,
            time.monotonic() - began,
            dict(result.details),
        )
        _log(report)
        reports.append(report)
    return Alignment(found.simplified(), tuple(reports))


def _run(config: StepConfig, fixed: Image, moving: Image, context: StepContext) -> StepResult:
    match config:
        case RansacConfig():
            return ransac(fixed, moving, config, context)
        case RandomConfig():
            return random_search(fixed, moving, config, context)
        case RigidConfig() | AffineConfig():
            return linear(fixed, moving, config, context)
        case DeformConfig(engine="simpleitk"):
            return simpleitk_deform(fixed, moving, config, context)
        case DeformConfig():
            # Its compiled kernels take a while to load, and not every alignment needs them.
            from teralign.registration.deform import deform

            return deform(fixed, moving, config, context)
        case _:
            raise TypeError(f"there is no step for {type(config).__name__}")


def _log(report: StepReport) -> None:
    change = f"{report.metric_before:.4f} to {report.metric_after:.4f}"
    if report.state == "improved":
        log.info("%s: improved, metric %s, %.1f s", report.name, change, report.seconds)
    else:
        log.info("%s: keeps its start: %s", report.name, report.reason)
