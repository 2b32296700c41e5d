"""The values of an assessment: what is said of a registration, as a whole and for each block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from teralign.grids import FloatTriple


class Verdict(StrEnum):
    """The quality of a registration: it is right, it may be wrong, it is wrong, or nothing can be told."""

    GOOD = "good"
    DOUBTFUL = "doubtful"
    BAD = "bad"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class ErrorEstimate:
    """The estimated remaining error in µm over blocks: their median and 95th percentile.

    The true error lies within a `factor` of the estimate for 80 % of blocks, as was measured on known maps; below
    `floor` µm errors are not told apart.
    """

    median: float
    p95: float
    factor: float
    floor: float


@dataclass(frozen=True)
class AssessedBlock:
    """A block of the fixed image, from `start` on, of `size` (z, y, x) µm.

    `margin` says by how much the local correlation at the place of the map exceeds that elsewhere; above 0 the block
    is confirmed. `error_um` is the estimated remaining error. Either is None where it cannot be told.
    """

    start: FloatTriple
    size: FloatTriple
    verdict: Verdict
    margin: float | None
    error_um: float | None


@dataclass(frozen=True)
class Advice:
    """The likely cause of a fault, and its remedy in a sentence; `option` with `value` is what to give a command."""

    cause: str
    sentence: str
    option: str | None = None
    value: str | None = None


@dataclass(frozen=True)
class Assessment:
    """The verdict on a registration, in one `sentence`, with what it rests on.

    Of `examined` blocks the map holds in `confirmed`. `reasons` are the sentences behind a verdict that is not good.
    """

    verdict: Verdict
    sentence: str
    error_um: ErrorEstimate | None
    confirmed: int
    examined: int
    reasons: Sequence[str]
    advice: Sequence[Advice]
    blocks: Sequence[AssessedBlock]
