"""The content of report.json: what is known of the alignment of a pair, beginning with the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from teralign.evaluation.similarity import Similarity
from teralign.grids import FloatTriple, Triple
from teralign.provenance import Run
from teralign.report.blocks import BlockSummary
from teralign.report.steps import GlobalSummary
from teralign.transforms import Folding
from teralign.trust import Assessment, ErrorEstimate, Verdict


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

    `verdict` and `error_um` are those of the `assessment`. `similarity` has each state of the alignment, `fields` the
    folds of each field by its path. `global_steps` summarises the global alignment and `blocks` the local one, with
    what they started from or skipped; `run` has the origin of all this.
    """

    verdict: Verdict
    error_um: ErrorEstimate | None
    name: str
    assessment: Assessment
    fixed: MeasuredGeometry
    moving: MeasuredGeometry
    transforms: Sequence[str]
    similarity: Mapping[str, Similarity]
    fields: Mapping[str, Folding]
    global_steps: GlobalSummary | None
    blocks: BlockSummary | None
    run: Run
