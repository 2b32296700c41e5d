"""What an alignment did, in pictures and numbers."""

from teralign.report.blocks import summarise_blocks
from teralign.report.folding import stored_folding
from teralign.report.landmarks import landmark_errors, read_points
from teralign.report.overview import Overview, read_overview
from teralign.report.pictures import Column, overlay, overlay_sheet
from teralign.report.similarity import similarity
from teralign.report.volume_change import VolumeChange

__all__ = [
    "Column",
    "Overview",
    "VolumeChange",
    "landmark_errors",
    "overlay",
    "overlay_sheet",
    "read_overview",
    "read_points",
    "similarity",
    "stored_folding",
    "summarise_blocks",
]
