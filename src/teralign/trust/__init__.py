"""Trust in a registration: a verdict, an estimate of the remaining error, and advice."""

from teralign.trust.advice import Clues, advice_of, advise, unlike
from teralign.trust.assess import assess, not_assessed
from teralign.trust.assessment import Advice, AssessedBlock, Assessment, ErrorEstimate, Verdict
from teralign.trust.gates import FailedGate, FailOn, GateCheck, Gates, Measured
from teralign.trust.structures import OVERVIEW_VOXELS
from teralign.trust.trials import find_remedy

__all__ = [
    "OVERVIEW_VOXELS",
    "Advice",
    "AssessedBlock",
    "Assessment",
    "Clues",
    "ErrorEstimate",
    "FailOn",
    "FailedGate",
    "GateCheck",
    "Gates",
    "Measured",
    "Verdict",
    "advice_of",
    "advise",
    "assess",
    "find_remedy",
    "not_assessed",
    "unlike",
]
