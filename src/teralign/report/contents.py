"""The content of report.json: what is known of the alignment of a pair, beginning with the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from teralign.evaluation import LandmarkErrors, Similarity
from teralign.grids import FloatTriple, Triple
from teralign.provenance import Run
from teralign.report.blocks import BlockSummary
from teralign.report.fields import FieldSummary
from teralign.report.inverse_consistency import InverseConsistency
from teralign.report.steps import GlobalSummary
from teralign.report.trace import TaskCost
from teralign.report.workflow_run import WorkflowRun
from teralign.trust import Assessment, ErrorEstimate, GateCheck, Verdict


@dataclass(frozen=True)
class MeasuredGeometry:
    """The channel of a volume, and the grid of its overview, on which it was measured; axes z, y, x, µm."""

    uri: str
    channel: int
    shape: Triple
    spacing_um: FloatTriple
    origin_um: FloatTriple
    measured_shape: Triple
    measured_spacing_um: FloatTriple


@dataclass(frozen=True)
class PairReport:
    """The content of report.json.

    `verdict` and `error_um` are those of the `assessment`; `gates` has the limits and what missed them. `similarity`
    and `landmarks` have each state of the alignment, `fields` each field by its path. `global_steps` summarises the
    global alignment and `blocks` the local one, with what they started from or skipped. `commands` repeat the
    alignment; `tasks` are what a workflow run took for the pair, `seconds` the time of its steps; `workflow` is how
    that run was started, and `run` has the origin of all this.
    """

    verdict: Verdict
    error_um: ErrorEstimate | None
    gates: GateCheck
    name: str
    assessment: Assessment
    fixed: MeasuredGeometry
    moving: MeasuredGeometry
    transforms: Sequence[str]
    similarity: Mapping[str, Similarity]
    fields: Mapping[str, FieldSummary]
    inverse: InverseConsistency | None
    landmarks: Mapping[str, LandmarkErrors]
    global_steps: GlobalSummary | None
    blocks: BlockSummary | None
    commands: Sequence[str]
    tasks: Sequence[TaskCost]
    seconds: float | None
    workflow: WorkflowRun | None
    run: Run
