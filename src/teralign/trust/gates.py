"""Gates: limits that a registration must keep, and what happens when it does not.

A gate judges results that are written already: they stay, and the command ends with the exit code of `GateError`. A
limit that is not given is no gate. A gate whose value could not be measured fails, since nothing says that it holds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from teralign.errors import GateError
from teralign.trust.assessment import Verdict


class FailOn(StrEnum):
    """The verdicts that a run fails on: bad ones, doubtful and unknown ones too, or none."""

    BAD = "bad"
    DOUBTFUL = "doubtful"
    NEVER = "never"

    def refuses(self, verdict: Verdict) -> bool:
        """Return whether a run with this verdict fails."""
        match self:
            case FailOn.BAD:
                return verdict is Verdict.BAD
            case FailOn.DOUBTFUL:
                return verdict is not Verdict.GOOD
            case FailOn.NEVER:
                return False


@dataclass(frozen=True)
class Gates:
    """The limits of a registration; None is no limit.

    `fail_on` concerns the verdict; `min_correlation` the mean local correlation after alignment, from -1 to 1;
    `max_folded` the share of the field that folds, and `max_failed_blocks` the share of failed blocks, from 0 to 1;
    `max_error_um` the median of the estimated error, and `max_tre_um` the median distance of landmarks, in µm.
    """

    fail_on: FailOn = FailOn.NEVER
    min_correlation: float | None = None
    max_folded: float | None = None
    max_failed_blocks: float | None = None
    max_error_um: float | None = None
    max_tre_um: float | None = None

    def check(self, measured: Measured) -> GateCheck:
        """Return which gates fail on these values."""
        failed = tuple(self._failures(measured))
        return GateCheck(passed=not failed, limits=self, failed=failed)

    def _failures(self, measured: Measured) -> Iterator[FailedGate]:
        if self.fail_on.refuses(measured.verdict):
            yield FailedGate("fail_on", measured.verdict, self.fail_on, _about(measured))
        for gate, what, unit in _NUMBERS:
            limit, value = getattr(self, gate), getattr(measured, _measure(gate))
            if limit is None:
                continue
            if value is None:
                yield FailedGate(
                    gate, None, limit, f"{what} could not be measured, to compare with the limit of {limit:g}{unit}"
                )
            elif value < limit if gate.startswith("min_") else value > limit:
                side = "below" if gate.startswith("min_") else "above"
                sentence = f"{what} is {value:.4g}{unit}, {side} the limit of {limit:g}{unit}"
                yield FailedGate(gate, value, limit, sentence)


@dataclass(frozen=True)
class Measured:
    """The values that gates judge, named as in `Gates`; None where a value is unknown. `what` is judged, in words."""

    verdict: Verdict
    correlation: float | None = None
    folded: float | None = None
    failed_blocks: float | None = None
    error_um: float | None = None
    tre_um: float | None = None
    what: str = "the alignment"


@dataclass(frozen=True)
class FailedGate:
    """A gate that fails: its name in `Gates`, the value (None: unknown), the limit, and both in a sentence."""

    gate: str
    value: float | str | None
    limit: float | str
    sentence: str


@dataclass(frozen=True)
class GateCheck:
    """The gates of a run, whether all of them `passed`, and those that failed."""

    passed: bool
    limits: Gates
    failed: Sequence[FailedGate]

    def require(self) -> None:
        """Raise GateError, in one sentence with values and limits, if a gate failed."""
        if self.failed:
            sentences = "; ".join(gate.sentence for gate in self.failed)
            raise GateError(f"{sentences}; the results are kept.")


_NUMBERS = (
    ("min_correlation", "the local correlation after alignment", ""),
    ("max_folded", "the folded share of the field", ""),
    ("max_failed_blocks", "the share of failed blocks", ""),
    ("max_error_um", "the estimated error (median)", " µm"),
    ("max_tre_um", "the distance of landmarks (median)", " µm"),
)


def _measure(gate: str) -> str:
    return gate.removeprefix("min_").removeprefix("max_")


def _about(measured: Measured) -> str:
    quality = "of unknown quality" if measured.verdict is Verdict.UNKNOWN else measured.verdict.value
    return f"{measured.what} is {quality}"
