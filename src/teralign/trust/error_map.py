"""The estimated errors of a registration over the fixed image, and what they say of it as a whole."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtri

from teralign.grids import FloatTriple, Grid
from teralign.registration.image import Volume32
from teralign.trust.assessment import AssessedBlock, Assessment, ErrorEstimate, Verdict
from teralign.trust.remaining_error import FACTOR

SCATTER = 0.3
"""The scatter of the true errors of cubes of `CUBE` voxels within a block, on pairs with known maps."""
_QUANTILES = ndtri((np.arange(20) + 0.5) / 20)  # of a normal distribution, enough for its 95th percentile
_ENOUGH = 1_000_000  # cubes for a percentile


@dataclass(frozen=True)
class ErrorMap:
    """Estimated errors `values` (z, y, x) in µm in the cubes of `grid`, NaN where nothing is known.

    Errors below `floor` µm are not told apart. Where a value stands for many cubes, theirs scatter about it; then
    `scatter` is the standard deviation of their logarithms.
    """

    values: Volume32
    grid: Grid
    floor: float
    scatter: float = 0.0

    def estimate(self) -> ErrorEstimate | None:
        """Return the median and the 95th percentile over all cubes; None if nothing is known.

        The percentile is that of the values with their scatter, which leaves their root mean square as it is.
        """
        known = self.values[np.isfinite(self.values)]
        if not known.size:
            return None
        some = known[:: -(-known.size // _ENOUGH)] if self.scatter else known
        shares = np.exp(self.scatter * _QUANTILES - self.scatter**2) if self.scatter else np.ones(1)
        p95 = np.percentile(some[:, None] * shares, 95)
        return ErrorEstimate(round(float(np.median(known)), 4), round(float(p95), 4), FACTOR, round(self.floor, 4))

    def within(self, start: FloatTriple, size: FloatTriple) -> float | None:
        """Return the root mean square over the box from `start` on, of `size` (z, y, x) µm; None if nothing is known.

        The box has the cubes that it touches.
        """
        touched = self.grid.touching(start, np.asarray(start) + size)
        return rms(self.values[touched.slices]) if touched.size else None


def rms(errors: Volume32) -> float | None:
    """Return the root mean square of the errors that are known, in µm; None if none is."""
    known = errors[np.isfinite(errors)].astype(np.float64)
    return round(float(np.sqrt(np.mean(known**2))), 4) if known.size else None


def with_errors(assessment: Assessment, errors: ErrorMap) -> Assessment:
    """Return an assessment with the estimated errors, of the whole and of each block.

    A bad one has none: the estimates compare maps that begin at the same place, and from a wrong one all are wrong.
    Images that show nothing to compare have none, too.
    """

    def of_block(block: AssessedBlock) -> AssessedBlock:
        bad = block.verdict is Verdict.BAD
        return replace(block, error_um=None if bad else errors.within(block.start, block.size))

    idle = assessment.verdict is Verdict.BAD or not assessment.examined
    estimate = None if idle else errors.estimate()
    return replace(assessment, error_um=estimate, blocks=tuple(map(of_block, assessment.blocks)))
