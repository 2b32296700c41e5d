"""Local alignment in blocks: stages from coarse to fine, blocks aligned in memory, fields screened and merged."""

from teralign.alignment.error_volume import ERROR_ENDING, write_error_volume
from teralign.alignment.plan import alignment_bytes, fixed_alignment_bytes, plan_alignment, step_seconds
from teralign.alignment.records import AlignedBlock, StageSummary
from teralign.alignment.run_stage import StageResult, StageRunner
from teralign.alignment.side import Side
from teralign.alignment.sources import ImageSource, open_pair, open_source, why_empty
from teralign.alignment.stages import BlockOptions, Stage, described_steps, plan_stages

__all__ = [
    "ERROR_ENDING",
    "AlignedBlock",
    "BlockOptions",
    "ImageSource",
    "Side",
    "Stage",
    "StageResult",
    "StageRunner",
    "StageSummary",
    "alignment_bytes",
    "described_steps",
    "fixed_alignment_bytes",
    "open_pair",
    "open_source",
    "plan_alignment",
    "plan_stages",
    "step_seconds",
    "why_empty",
    "write_error_volume",
]
