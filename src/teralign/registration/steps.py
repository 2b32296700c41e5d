"""What every step of an alignment gives back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from teralign.transforms import Affine, DisplacementField

Detail = float | int | str


@dataclass(frozen=True)
class StepResult:
    """What one step found: `transform` maps fixed points to points that the start maps to moving ones.

    None keeps the start, and `reason` says why. Of the metrics higher is better; NaN means that it was not measured.
    """

    transform: Affine | DisplacementField | None
    metric_before: float = math.nan
    metric_after: float = math.nan
    reason: str = ""
    details: Mapping[str, Detail] = field(default_factory=dict)


def kept(reason: str, *, before: float = math.nan, after: float = math.nan, **details: Detail) -> StepResult:
    """The result of a step that leaves everything as it was, and why."""
    return StepResult(None, before, after, reason, details)


def accepted_if_better(
    transform: Affine | DisplacementField, before: float, after: float, **details: Detail
) -> StepResult:
    """The result of a step that counts only if its metric went up; NaN is not better."""
    if after > before or (math.isnan(before) and math.isfinite(after)):
        return StepResult(transform, before, after, "", details)
    if not math.isfinite(after):
        return kept("what it found leaves too little overlap to measure", before=before, after=after, **details)
    return kept(
        f"what it found is no better: {after:.4f} after, {before:.4f} before", before=before, after=after, **details
    )
