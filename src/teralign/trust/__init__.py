"""Trust in a registration: a verdict, an estimate of the remaining error, and advice."""

from teralign.trust.assessment import Advice, AssessedBlock, Assessment, ErrorEstimate, Verdict
from teralign.trust.gates import FailedGate, FailOn, GateCheck, Gates, Measured

__all__ = [
    "Advice",
    "AssessedBlock",
    "Assessment",
    "ErrorEstimate",
    "FailOn",
    "FailedGate",
    "GateCheck",
    "Gates",
    "Measured",
    "Verdict",
]
