"""The steps of an alignment, one after the other, each from what those before it found.

The transform so far is a stack that maps fixed to moving points; a step finds T with x_moving = start(T(x)), which is
appended: `start ∘ T₁ ∘ T₂ …`, last applied first. A step that does not improve its metric leaves no trace but its
report.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypedDict

from threadpoolctl import threadpool_limits

from teralign.grids import Grid
from teralign.registration.bspline import bspline
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
from teralign.registration.steps import Detail, StepResult
from teralign.transforms import Stack

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StepReport:
    """What became of one step. Of the metrics higher is better; NaN means that it was not measured."""

    name: str
    state: Literal["improved", "kept"]
    reason: str
    metric_before: float
    metric_after: float
    seconds: float
    details: Mapping[str, Detail]


@dataclass(frozen=True)
class Alignment:
    """What the steps found, without the start: the whole map is `start @ transform`."""

    transform: Stack
    reports: tuple[StepReport, ...]


def align(
    fixed: Image,
    moving: Image,
    steps: Sequence[StepConfig],
    *,
    start: Stack,
    field_grid: Grid | None = None,
    seed: int = 0,
    threads: int = 1,
) -> Alignment:
    """Align the moving image to the fixed one, beginning at `start` (fixed to moving points).

    `field_grid` holds the nodes of a displacement field that a deform step finds; by default the step chooses. The
    same input, seed and steps give the same result, whatever the number of threads: so linear algebra, whose products
    are small, has one.
    """
    with threadpool_limits(1, user_api="blas"):
        return _align(fixed.finite(), moving.finite(), steps, start, field_grid, seed, threads)


def _align(
    fixed: Image,
    moving: Image,
    steps: Sequence[StepConfig],
    start: Stack,
    field_grid: Grid | None,
    seed: int,
    threads: int,
) -> Alignment:
    found = Stack()
    reports = []
    for step in steps:
        began = time.monotonic()
        result = _run(step, fixed, moving, start @ found, field_grid, seed, threads)
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


class _Common(TypedDict):
    start: Stack
    field_grid: Grid | None
    seed: int
    threads: int


def _run(
    config: StepConfig, fixed: Image, moving: Image, start: Stack, field_grid: Grid | None, seed: int, threads: int
) -> StepResult:
    common = _Common(start=start, field_grid=field_grid, seed=seed, threads=threads)
    match config:
        case RansacConfig():
            return ransac(fixed, moving, config, **common)
        case RandomConfig():
            return random_search(fixed, moving, config, **common)
        case RigidConfig() | AffineConfig():
            return linear(fixed, moving, config, **common)
        case DeformConfig(engine="simpleitk"):
            return bspline(fixed, moving, config, **common)
        case DeformConfig():
            # Its compiled kernels take a while to load, and not every alignment needs them.
            from teralign.registration.deform import deform

            return deform(fixed, moving, config, **common)
        case _:
            raise TypeError(f"there is no step for {type(config).__name__}")


def _log(report: StepReport) -> None:
    change = f"{report.metric_before:.4f} to {report.metric_after:.4f}"
    if report.state == "improved":
        log.info("%s: improved, metric %s, %.1f s", report.name, change, report.seconds)
    else:
        log.info("%s: keeps its start: %s", report.name, report.reason)
