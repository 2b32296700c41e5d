"""The verdict on a map of volumes on disk: their overviews are compared through it."""

from __future__ import annotations

import logging

from teralign.alignment import ImageSource
from teralign.tasks.sampled_errors import sample_errors
from teralign.transforms import Stack, along_axes
from teralign.trust import OVERVIEW_VOXELS, Assessment, ErrorMap, Verdict, assess, with_errors
from teralign.volumes import OverviewSize

log = logging.getLogger(__name__)

NOTHING_ALIGNED = "Nothing was aligned."
"""The sentence of a record of no steps."""
# Without coarser scales the middle is read, as much as takes seconds.
_SIZE = OverviewSize(kept=OVERVIEW_VOXELS, read=1_000_000_000)


def assess_volumes(
    fixed: ImageSource,
    moving: ImageSource,
    transform: Stack,
    *,
    threads: int,
    errors: ErrorMap | None = None,
    estimate: bool = True,
) -> Assessment:
    """Return the verdict on a map of world points, in the log too; reads coarse scales of both volumes.

    `errors` are those that were estimated with the map; without them they are estimated in pieces at
    full scale, unless `estimate` is off.
    """
    straight = along_axes(transform, fixed.direction, moving.direction)
    images = fixed.read_overview(_SIZE), moving.read_overview(_SIZE)
    result = assess(*images, straight, threads=threads)
    if errors is None and estimate and result.verdict is not Verdict.BAD:
        errors = sample_errors(fixed, moving, images, straight, threads=threads)
    if errors is not None:
        result = with_errors(result, errors)
    log_verdict(result)
    return result


def log_verdict(assessment: Assessment) -> None:
    """Log the verdict: as a warning, with its reasons, unless it is good; then the estimated error."""
    if assessment.verdict is Verdict.GOOD:
        log.info("verdict good: %s", assessment.sentence)
    else:
        log.warning("verdict %s: %s", assessment.verdict, " ".join(assessment.reasons))
    if (error := assessment.error_um) is not None:
        log.info("the estimated error is %.2f µm, in 95 %% of the volume below %.2f µm", error.median, error.p95)
