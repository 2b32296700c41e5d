"""What an alignment did, in pictures and numbers."""

from teralign.report.blocks import summarise_blocks
from teralign.report.folding import stored_folding
from teralign.report.landmarks import landmark_errors, read_points
from teralign.report.overview import Overview, read_overview
from teralign.report.pictures import Column, overlay, overlay_sheet, portrait
from teralign.report.similarity import similarity
from teralign.report.values import Histogram, histogram, sample_voxels
from teralign.report.volume_change import VolumeChange

__all__ = [
    "Column",
    "Histogram",
    "Overview",
    "VolumeChange",
    "histogram",
    "landmark_errors",
    "overlay",
    "overlay_sheet",
    "portrait",
    "read_overview",
    "read_points",
    "sample_voxels",
    "similarity",
    "stored_folding",
    "summarise_blocks",
]
