"""Gates: which values fail which limits, and what is said of them."""

import pytest

from teralign.errors import GateError
from teralign.trust import FailOn, Gates, Measured, Verdict

GOOD = Measured(Verdict.GOOD, correlation=0.9, folded=0.0, failed_blocks=0.0, error_um=0.2, tre_um=0.3)


@pytest.mark.parametrize(
    ("fail_on", "refused"),
    [
        (FailOn.NEVER, set()),
        (FailOn.BAD, {Verdict.BAD}),
        (FailOn.DOUBTFUL, {Verdict.BAD, Verdict.DOUBTFUL, Verdict.UNKNOWN}),
    ],
)
def test_a_run_fails_on_the_verdicts_that_were_named(fail_on, refused):
    assert {v for v in Verdict if not Gates(fail_on).check(Measured(v)).passed} == refused


@pytest.mark.parametrize(
    ("gate", "kept", "missed", "said"),
    [
        ("min_correlation", 0.9, 0.91, "the local correlation after alignment is 0.9, below the limit of 0.91"),
        ("max_folded", 0.0, -0.1, "the folded share of the field is 0, above the limit of -0.1"),
        ("max_failed_blocks", 0.0, -0.1, "the share of failed blocks is 0, above"),
        ("max_error_um", 0.2, 0.19, "the estimated error (median) is 0.2 µm, above the limit of 0.19 µm"),
        ("max_tre_um", 0.3, 0.29, "the distance of landmarks (median) is 0.3 µm, above the limit of 0.29 µm"),
    ],
)
def test_a_gate_fails_beyond_its_limit_and_names_value_and_limit(gate, kept, missed, said):
    assert Gates(**{gate: kept}).check(GOOD).passed
    check = Gates(**{gate: missed}).check(GOOD)
    assert [(failed.gate, failed.limit) for failed in check.failed] == [(gate, missed)]
    assert said in check.failed[0].sentence
    with pytest.raises(GateError, match="the results are kept"):
        check.require()


def test_a_value_that_is_unknown_fails_its_gate():
    check = Gates(max_error_um=5).check(Measured(Verdict.UNKNOWN))
    assert "could not be measured, to compare with the limit of 5 µm" in check.failed[0].sentence


def test_all_failed_gates_are_one_sentence():
    check = Gates(FailOn.BAD, min_correlation=0.5).check(Measured(Verdict.BAD, correlation=0.1))
    with pytest.raises(GateError) as raised:
        check.require()
    assert str(raised.value).count("\n") == 0
    assert [failed.gate for failed in check.failed] == ["fail_on", "min_correlation"]


def test_without_limits_everything_passes():
    assert Gates().check(Measured(Verdict.BAD)).passed
