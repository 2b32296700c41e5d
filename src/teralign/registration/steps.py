"""The input and the result of a step of an alignment, which all steps share."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from teralign.grids import Grid
from teralign.transforms import Affine, DisplacementField, Stack

Detail: TypeAlias = float | int | str


@dataclass(frozen=True)
class StepContext:
    """The circumstances of a step, beside the images and its parameters.

    `initial_transform` maps fixed to moving points; `field_grid` holds the nodes of a displacement field
    that the step finds (None: the step chooses); `seed` is that of all random choices.
    """

    initial_transform: Stack
    field_grid: Grid | None = None
    seed: int = 0
    threads: int = 1


@dataclass(frozen=True)
class StepResult:
    """The result of one step: `transform` maps fixed points to points that the initial transform maps to moving ones.

    None keeps the initial transform, and `reason` says why. Higher metrics are better; NaN: not measured.
    """

    transform: Affine | DisplacementField | None
    metric_before: float = math.nan
    metric_after: float = math.nan
    reason: str = ""
    details: Mapping[str, Detail] = field(default_factory=dict)


def kept(reason: str, *, before: float = math.nan, after: float = math.nan, **details: Detail) -> StepResult:
    """Return the result of a step that changes nothing, with the reason."""
    return StepResult(None, before, after, reason, details)


def accepted_if_better(
    transform: Affine | DisplacementField, before: float, after: float, **details: Detail
) -> StepResult:
    """Return the result of a step that counts only if its metric improved; NaN is no improvement."""
    if after > before or (math.isnan(before) and math.isfinite(after)):
        return StepResult(transform, before, after, "", details)
    if not math.isfinite(after):
        return kept("the map found leaves too little overlap to measure", before=before, after=after, **details)
    return kept(
        f"the map found is no better: {after:.4f} after, {before:.4f} before", before=before, after=after, **details
    )
