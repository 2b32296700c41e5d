"""Trials of what may be wrong with a pair that is not aligned: voxel sizes, mirrored axes, turned volumes.

Each trial changes one thing of the moving image and searches for a start with few blobs, on an overview. Of each kind
of trials the start with most agreeing blobs is judged as any map is. Trials end with the first map that is verified,
so a fault that is common is found early. Their number and the size of the images are fixed: some 30 s of CPU time
where nothing is found, whatever the size of the volumes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from teralign.grids import Floats, FloatTriple, Grid, as_float_triple
from teralign.registration import Image
from teralign.registration.config import RansacConfig
from teralign.registration.ransac import ransac
from teralign.registration.steps import StepContext
from teralign.transforms import Affine, Stack
from teralign.trust.assess import assess
from teralign.trust.assessment import Assessment, Verdict
from teralign.trust.structures import overview

_VOXELS = 700_000  # of the images of a trial
_SEARCH = RansacConfig(nspots=500, max_rotation_degrees=0.0)
_AGREEING = 20  # blobs: chance gives up to 14, a right trial 60 and more
_ENOUGH = (Verdict.GOOD, Verdict.DOUBTFUL)  # of a linear start; tissue that bends is doubtful before its deformation
_CONFIRMED = 0.45  # of the blocks: less confirm a factor of 3 where 2 is right
_FACTORS = (5.0, 3.0, 2.0)
_AXES = ("z", "y", "x")


@dataclass(frozen=True)
class Trial:
    """A change of the moving image: voxels `factors` (z, y, x) times as large, then the linear map `turn` (3, 3).

    `what` names the change; a turn maps directions of the fixed image to those of the moving one.
    """

    what: str
    factors: FloatTriple = (1.0, 1.0, 1.0)
    turn: Floats | None = None


@dataclass(frozen=True)
class Remedy:
    """A trial whose map is verified; `start` maps fixed to moving points of the changed image, (z, y, x) in µm."""

    trial: Trial
    start: Affine
    assessment: Assessment


def find_remedy(fixed: Image, moving: Image, *, threads: int = 1) -> Remedy | None:
    """Return a trial that aligns two images which are not aligned, or None.

    Of the trials of one kind that with most agreeing blobs is judged, since a voxel size that is wrong by less than
    it was may be verified too.
    """
    fixed, moving = overview(fixed, _VOXELS), overview(moving, _VOXELS)
    for trials in _kinds():
        best, start, most = trials[0], None, 0
        for trial in trials:
            found, agreeing = _search(fixed, _scaled(moving, trial.factors), trial)
            if agreeing > most:
                best, start, most = trial, found, agreeing
        if start is None:
            continue
        assessment = assess(fixed, _scaled(moving, best.factors), Stack((start,)), threads=threads)
        if assessment.verdict in _ENOUGH and assessment.confirmed >= _CONFIRMED * assessment.examined:
            return Remedy(best, start, assessment)
    return None


def _kinds() -> Iterator[list[Trial]]:
    """Yield the trials of each kind, common faults first."""
    yield [
        Trial(f"mirrored along {name}", turn=np.diag(1.0 - 2.0 * np.eye(3)[axis])) for axis, name in enumerate(_AXES)
    ]
    for axes in ((0,), (0, 1, 2), (1, 2), (1,), (2,)):
        named = ", ".join(_AXES[axis] for axis in axes)
        factors = [f for one in _FACTORS for f in (one, 1 / one)]
        yield [
            Trial(f"voxel size along {named}", as_float_triple(f if axis in axes else 1.0 for axis in range(3)))
            for f in factors
        ]
    yield [
        Trial(
            f"turned by {abs(degrees)}° about {name}",
            turn=Rotation.from_rotvec(degrees * axis, degrees=True).as_matrix(),
        )
        for name, axis in zip(_AXES, np.eye(3), strict=True)
        for degrees in (90, -90, 180)
    ]


def _scaled(image: Image, factors: FloatTriple) -> Image:
    """Return the image with voxels `factors` times as large."""
    grid = image.grid
    spacing = as_float_triple(d * f for d, f in zip(grid.spacing, factors, strict=True))
    return Image(image.array, Grid(grid.shape, spacing, grid.origin), image.mask)


def _search(fixed: Image, moving: Image, trial: Trial) -> tuple[Affine | None, int]:
    """Return the map that blobs agree on, from the trial's turn about the middles, and how many; None for few."""
    initial = Affine.identity()
    if trial.turn is not None:
        matrix = np.eye(4)
        matrix[:3, :3] = trial.turn
        matrix[:3, 3] = np.array(moving.grid.centre) - trial.turn @ np.array(fixed.grid.centre)
        initial = Affine(matrix)
    found = ransac(fixed, moving, _SEARCH, StepContext(Stack((initial,))))
    inliers = found.details.get("inliers", 0)
    if not isinstance(found.transform, Affine) or not isinstance(inliers, int) or inliers < _AGREEING:
        return None, 0
    return initial @ found.transform, inliers


def option_value(spacing: FloatTriple, factors: FloatTriple) -> str:
    """Return x,y,z of a spacing (z, y, x) times the factors, as an option takes it."""
    return ",".join(f"{_rounded(d * f):g}" for d, f in zip(reversed(spacing), reversed(factors), strict=True))


def _rounded(value: float) -> float:
    return round(value, 4 - math.floor(math.log10(value))) if value > 0 else value
