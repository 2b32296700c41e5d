"""Local alignment in blocks: stages from coarse to fine, blocks aligned in memory, fields screened and merged."""

from teralign.alignment.plan import alignment_bytes, plan_alignment, step_seconds
from teralign.alignment.reports import step_reports
from teralign.alignment.run_stage import StageResult, StageRunner
from teralign.alignment.side import Side
from teralign.alignment.sources import Source, nothing_in, open_source
from teralign.alignment.stages import plan_stages

__all__ = [
    "Side",
    "Source",
    "StageResult",
    "StageRunner",
    "alignment_bytes",
    "nothing_in",
    "open_source",
    "plan_alignment",
    "plan_stages",
    "step_reports",
    "step_seconds",
]
