"""Trust in a registration: a verdict, an estimate of the remaining error, and advice."""

from teralign.trust.assess import assess, not_assessed
from teralign.trust.assessment import Advice, AssessedBlock, Assessment, ErrorEstimate, Verdict
from teralign.trust.gates import FailedGate, FailOn, GateCheck, Gates, Measured
from teralign.trust.structures import OVERVIEW_VOXELS

__all__ = [
    "OVERVIEW_VOXELS",
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
    "assess",
    "not_assessed",
]
