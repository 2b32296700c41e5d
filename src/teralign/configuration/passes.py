"""Sections of bigstream's multi-pass files (2026) that say in another shape what a configuration here says.

A pass there is a list of steps in blocks of its own, which fits what the passes before it left. Here each step of one
list continues from the result of the steps before it, in blocks of one size, so passes become one list.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from teralign.configuration.sections import Overlap, StepEntry
from teralign.grids import Triple
from teralign.registration.config import Count, CountOrZero, NonNegative, Section


@dataclass(frozen=True)
class Blocks:
    """The size of blocks, (z, y, x) voxels, and their overlap as a share of it."""

    size: Triple
    overlap: float


class Pass(Section):
    """One pass, or the values that all passes share; lengths are (z, y, x) voxels, factors shares of the size."""

    alignment_steps: tuple[StepEntry, ...] | None = None
    processing_size: tuple[Count, Count, Count] | None = None
    processing_halo_factor: Overlap | tuple[Overlap, Overlap, Overlap] | None = None
    overlap_factor: Overlap | tuple[Overlap, Overlap, Overlap] | None = None
    processing_halo: tuple[CountOrZero, CountOrZero, CountOrZero] | None = None

    def blocks(self, shared: Pass, usual: Blocks) -> Blocks:
        """Return the blocks of this pass: its own values, then those of all passes, then `usual`."""
        size = self.processing_size or shared.processing_size or usual.size
        overlaps = (values.overlap(size) for values in (self, shared))
        return Blocks(size, next((overlap for overlap in overlaps if overlap is not None), usual.overlap))

    def overlap(self, size: Triple) -> float | None:
        """Return the overlap of blocks of `size`, the largest of the axes; None where it is not given."""
        if self.processing_halo is not None:
            return max(halo / voxels for halo, voxels in zip(self.processing_halo, size, strict=True))
        factor = self.overlap_factor if self.processing_halo_factor is None else self.processing_halo_factor
        return max(factor) if isinstance(factor, tuple) else factor


SIZE_KEYS = ("processing_size",)
OVERLAP_KEYS = ("processing_halo_factor", "overlap_factor", "processing_halo")


def largest_blocks(passes: Sequence[Pass], shared: Pass, usual: Blocks) -> Blocks:
    """Return the largest blocks of all passes, which have room for the steps of each; those of all without any."""
    return max((one.blocks(shared, usual) for one in passes or [Pass()]), key=lambda blocks: math.prod(blocks.size))


class BsplineConstraints(Section):
    """The limit on the slope of a B-spline displacement: `k`, one value or one an axis (z, y, x).

    The Jacobian determinant is then at least 1 − Σk (Chun and Fessler: A simple regularizer for B-spline nonrigid
    image registration that encourages local invertibility, 2009), which is what `min_jacobian` limits here.
    """

    k: NonNegative | tuple[NonNegative, NonNegative, NonNegative] | None = None

    @property
    def slope(self) -> float | None:
        """The sum of k over the axes; None where it is not given."""
        if self.k is None:
            return None
        return round(sum(self.k) if isinstance(self.k, tuple) else 3 * self.k, 6)


CONSTRAINT_KEYS = ("bspline_constraints", "control_point_constraint")
"""Names of `BsplineConstraints` in the step `deform`."""
