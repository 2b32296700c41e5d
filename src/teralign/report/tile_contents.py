"""The content of the report.json of stitched tiles, and the overlaps and tiles that its page shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from teralign.grids import Floats, FloatTriple, Region, Triple
from teralign.provenance import Run
from teralign.tiles import Solution, Tile
from teralign.trust import Assessment, ErrorEstimate, GateCheck, Verdict

ReadTile: TypeAlias = Callable[[Tile, Region], NDArray[np.float32]]
"""Returns the voxels (z, y, x) of a region of a tile, in even light."""

BentAt: TypeAlias = Callable[[Tile, Floats], Floats]
"""Returns the displacements (n, 3) µm of a tile, in its own frame, at points (n, 3) µm: where it is sampled."""

AxisValues: TypeAlias = tuple[float | None, float | None, float | None]
"""Values along z, y and x, None where they are unknown."""


def straight(tile: Tile, points: Floats) -> Floats:
    """Return no displacements: the `BentAt` of straight tiles."""
    return np.zeros_like(points)


@dataclass(frozen=True)
class TileOverlap:
    """An overlap of two tiles and what became of it: `confirmed`, `removed`, or the reason why it says nothing.

    `before` and `after` are the correlations at the positions of the stage and of the shift that was found, `second`
    that at the next best place, `voxels` the size of the overlap. `shift_error_um` (z, y, x) is the standard
    error of its shift, None along an axis that it does not tell.
    `residual_um` (z, y, x) is what the solved positions differ by from the shift that was found, None along an axis
    that the overlap does not tell, and without evidence.
    """

    fixed: str
    moving: str
    state: str
    before: float | None
    after: float | None
    second: float | None
    voxels: int
    shift_error_um: AxisValues
    residual_um: AxisValues | None

    @property
    def length_um(self) -> float | None:
        """The length of the residual over the axes that the overlap tells."""
        told = [value for value in self.residual_um or () if value is not None]
        return float(np.linalg.norm(told)) if told else None


@dataclass(frozen=True)
class ReportedTile:
    """A tile: its state and flags, where the stage and the solution have it (z, y, x µm), and how sure that is.

    `residual_um` is the mean length of the residuals of its confirmed overlaps, `error_um` the estimated error of its
    position against the others of its component; None where no overlap tells.
    """

    name: str
    index: Triple | None
    state: str
    flags: Sequence[str]
    component: int
    stage_um: FloatTriple
    position_um: FloatTriple
    residual_um: float | None
    error_um: float | None


@dataclass(frozen=True)
class Residuals:
    """The lengths of the residuals of confirmed overlaps in µm."""

    median: float
    p95: float
    maximum: float


@dataclass(frozen=True)
class SeamNote:
    """A pair whose seam is shown: the `best`, `median` or `worst`, with its correlation before and after."""

    which: str
    fixed: str
    moving: str
    before: float | None
    after: float | None


@dataclass(frozen=True)
class TilesReport:
    """The content of report.json of stitched tiles.

    `verdict` and `error_um` are those of the `assessment`, whose `confirmed` and `examined` count overlaps.
    `overlaps` are numbers by what became of them, `flagged` the names of tiles by what is the matter with them.
    `correlation` has the medians over confirmed overlaps before and after. `removed` are the overlaps whose shifts
    contradict the solution. `run` has the origin.
    """

    kind: Literal["tiles"]
    verdict: Verdict
    error_um: ErrorEstimate | None
    gates: GateCheck
    name: str
    assessment: Assessment
    spacing_um: FloatTriple
    channel: str
    solution: Solution | None
    overlaps: Mapping[str, int]
    residual_um: Residuals | None
    correlation: Mapping[str, float | None]
    flagged: Mapping[str, Sequence[str]]
    removed: Sequence[TileOverlap]
    seams: Sequence[SeamNote]
    tiles: Sequence[ReportedTile]
    run: Run
