"""`Registration`: a map from fixed to moving points, the images it was found between, and the verdict on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from teralign.api import warping
from teralign.api.frames import Frame
from teralign.cluster import worker_threads
from teralign.errors import InputError
from teralign.grids import Floats
from teralign.registration import StepReport
from teralign.transforms import Stack
from teralign.trust import Assessment, ErrorEstimate, Verdict

if TYPE_CHECKING:
    from teralign.api.warping import W


@dataclass(frozen=True, eq=False)
class Registration:
    """A registration: the map from fixed to moving points, the images, the steps, and the verdict.

    `transform` takes points (z, y, x) in µm of the fixed image to those of the moving one; it is a list of affines
    and displacement fields, the last applied first. `steps` reports the steps on the whole images. `assessment` says
    how far to trust the map, None if it was not examined.
    """

    transform: Stack
    fixed: Frame
    moving: Frame
    steps: tuple[StepReport, ...] = ()
    assessment: Assessment | None = None

    @property
    def verdict(self) -> Verdict:
        """The verdict: good, doubtful, bad or unknown. It compares equal to these words."""
        return Verdict.UNKNOWN if self.assessment is None else self.assessment.verdict

    @property
    def error(self) -> ErrorEstimate | None:
        """The estimated remaining error in µm: its `median` and `p95` over blocks; None where it cannot be told."""
        return None if self.assessment is None else self.assessment.error_um

    def warp(self, image: W, *, order: int = 1) -> W:
        """Return an image of the moving side on the grid of the fixed one, in its own type.

        `image` is an array (z, y, x), or (c, z, y, x) with channels first, on the voxels of the moving image; an
        array of another sampling of the same field of view is taken to have the same faces. `order` is 1 (linear),
        3 (cubic) or 0 (nearest: for labels). Beyond the moving image the result is 0.
        """
        return warping.warp_image(image, self.transform, self.fixed, self.moving, order=order)

    def map_points(self, points: ArrayLike, *, inverse: bool = False) -> Floats:
        """Return the images (n, 3) of points (n, 3), z, y, x in µm; of one point (3,) as (3,).

        Points of the fixed image become points of the moving one, or with `inverse` points of the moving image those
        of the fixed one: NaN where the map has no inverse.
        """
        given = np.asarray(points, dtype=np.float64)
        if given.ndim not in (1, 2) or given.shape[-1] != 3:
            raise InputError(f"points must have the shape (n, 3), z, y, x in µm, not {given.shape}.")
        listed = given.reshape(-1, 3)
        if inverse:
            mapped, found = self.transform.inverse_map_points(listed, threads=worker_threads())
            mapped[~found] = np.nan
        else:
            mapped = self.transform.map_points(listed, threads=worker_threads())
        return mapped.reshape(given.shape)

    def __repr__(self) -> str:
        steps = ", ".join(f"{step.name} {step.state}" for step in self.steps) or "no steps"
        error = "" if self.error is None else f", error {self.error.median:.2g} µm"
        shape = "x".join(map(str, self.fixed.grid.shape))
        return f"Registration({self.verdict.value}{error}; {steps}; fixed {shape})"
