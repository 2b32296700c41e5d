"""The effect of an alignment in pictures and numbers."""

from teralign.evaluation import (
    LandmarkErrors,
    Similarity,
    VolumeChange,
    VolumeChangeSummary,
    landmark_errors,
    similarity,
)
from teralign.report.blocks import BlockSummary, summarise_blocks
from teralign.report.contents import MeasuredGeometry, PairReport
from teralign.report.folding import stored_folding
from teralign.report.labels import looks_like_labels
from teralign.report.pair_page import Seen, pair_page
from teralign.report.pictures import Column, overlay, overlay_sheet, portrait
from teralign.report.steps import GlobalSummary, StepSummary, summarise_steps
from teralign.report.values import Histogram, histogram, sample_voxels

__all__ = [
    "BlockSummary",
    "Column",
    "GlobalSummary",
    "Histogram",
    "LandmarkErrors",
    "MeasuredGeometry",
    "PairReport",
    "Seen",
    "Similarity",
    "StepSummary",
    "VolumeChange",
    "VolumeChangeSummary",
    "histogram",
    "landmark_errors",
    "looks_like_labels",
    "overlay",
    "overlay_sheet",
    "pair_page",
    "portrait",
    "sample_voxels",
    "similarity",
    "stored_folding",
    "summarise_blocks",
    "summarise_steps",
]
