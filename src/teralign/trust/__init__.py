"""Trust in a registration: a verdict, an estimate of the remaining error, and advice."""

from teralign.trust.advice import Clues, advice_of, advise, unlike
from teralign.trust.assess import assess, not_assessed
from teralign.trust.assessment import Advice, AssessedBlock, Assessment, ErrorEstimate, Verdict
from teralign.trust.error_map import SCATTER, ErrorMap, rms, with_errors
from teralign.trust.gates import FailedGate, FailOn, GateCheck, Gates, Measured
from teralign.trust.remaining_error import (
    ERROR_MARGIN,
    cubes_in,
    cubes_over,
    cubes_shown,
    error_of_piece,
    estimate_errors,
    floor_of,
    piece_edge,
    typical_piece,
)
from teralign.trust.spread_errors import choose_blocks, spread_errors
from teralign.trust.structures import OVERVIEW_VOXELS
from teralign.trust.symptoms import Drift, Symptoms, find_symptoms
from teralign.trust.tiles import Overlaps, StitchingFacts, judge_tiles, position_errors
from teralign.trust.trials import find_remedy
from teralign.trust.whole_errors import deform_of, estimate_whole, left_to_move

__all__ = [
    "ERROR_MARGIN",
    "OVERVIEW_VOXELS",
    "SCATTER",
    "Advice",
    "AssessedBlock",
    "Assessment",
    "Clues",
    "Drift",
    "ErrorEstimate",
    "ErrorMap",
    "FailOn",
    "FailedGate",
    "GateCheck",
    "Gates",
    "Measured",
    "Overlaps",
    "StitchingFacts",
    "Symptoms",
    "Verdict",
    "advice_of",
    "advise",
    "assess",
    "choose_blocks",
    "cubes_in",
    "cubes_over",
    "cubes_shown",
    "deform_of",
    "error_of_piece",
    "estimate_errors",
    "estimate_whole",
    "find_remedy",
    "find_symptoms",
    "floor_of",
    "judge_tiles",
    "left_to_move",
    "not_assessed",
    "piece_edge",
    "position_errors",
    "rms",
    "spread_errors",
    "typical_piece",
    "unlike",
    "with_errors",
]
