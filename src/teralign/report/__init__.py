"""The effect of an alignment in pages, pictures and numbers."""

from teralign.report.block_maps import RecordedBlock, recorded_blocks
from teralign.report.blocks import BlockSummary, summarise_blocks
from teralign.report.contents import MeasuredGeometry, PairReport
from teralign.report.fields import FieldSummary, MeasuredField, measure_field
from teralign.report.inverse_consistency import InverseConsistency, inverse_consistency
from teralign.report.labels import looks_like_labels
from teralign.report.pair_page import Evidence, close_views, pair_page
from teralign.report.pictures import Column, overlay, overlay_sheet, portrait
from teralign.report.quilt import Quilt, make_quilt
from teralign.report.records import StepRecord, read_record
from teralign.report.run_index import (
    PairEntry,
    RunIndex,
    TriangleEntry,
    index_of,
    multiqc_content,
    read_entry,
    read_triangles,
    run_page,
    small_pictures,
)
from teralign.report.seams import Seam, chosen_pairs, draw_seam, seam_sheet, stage_set
from teralign.report.slices import covered_box
from teralign.report.states import Seen, seen_through, states_of
from teralign.report.steps import GlobalSummary, StepSummary, summarise_steps
from teralign.report.tile_contents import (
    BentAt,
    ReadTile,
    ReportedTile,
    Residuals,
    SeamNote,
    TileOverlap,
    TilesReport,
    straight,
)
from teralign.report.tile_map import MARKS, marks_of
from teralign.report.tiles_page import TileEvidence, quilt_picture, tiles_page
from teralign.report.trace import TaskCost, read_trace
from teralign.report.values import Histogram, histogram, sample_voxels
from teralign.report.workflow_run import WorkflowRun, complete_report, read_workflow
from teralign.report.zooms import CloseImages

__all__ = [
    "MARKS",
    "BentAt",
    "BlockSummary",
    "CloseImages",
    "Column",
    "Evidence",
    "FieldSummary",
    "GlobalSummary",
    "Histogram",
    "InverseConsistency",
    "MeasuredField",
    "MeasuredGeometry",
    "PairEntry",
    "PairReport",
    "Quilt",
    "ReadTile",
    "RecordedBlock",
    "ReportedTile",
    "Residuals",
    "RunIndex",
    "Seam",
    "SeamNote",
    "Seen",
    "StepRecord",
    "StepSummary",
    "TaskCost",
    "TileEvidence",
    "TileOverlap",
    "TilesReport",
    "TriangleEntry",
    "WorkflowRun",
    "chosen_pairs",
    "close_views",
    "complete_report",
    "covered_box",
    "draw_seam",
    "histogram",
    "index_of",
    "inverse_consistency",
    "looks_like_labels",
    "make_quilt",
    "marks_of",
    "measure_field",
    "multiqc_content",
    "overlay",
    "overlay_sheet",
    "pair_page",
    "portrait",
    "quilt_picture",
    "read_entry",
    "read_record",
    "read_trace",
    "read_triangles",
    "read_workflow",
    "recorded_blocks",
    "run_page",
    "sample_voxels",
    "seam_sheet",
    "seen_through",
    "small_pictures",
    "stage_set",
    "states_of",
    "straight",
    "summarise_blocks",
    "summarise_steps",
    "tiles_page",
]
