"""The advice on an alignment: from its measurements, and from trials of other voxel sizes and turns if it is bad."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from teralign.alignment import ImageSource, Side
from teralign.grids import FloatTriple, as_float_triple
from teralign.registration import Image
from teralign.trust import (
    OVERVIEW_VOXELS,
    Advice,
    Assessment,
    Clues,
    Verdict,
    advice_of,
    advise,
    find_remedy,
    find_symptoms,
    unlike,
)
from teralign.volumes import OverviewSize

log = logging.getLogger(__name__)

_SIZE = OverviewSize(kept=OVERVIEW_VOXELS, read=200_000_000)  # without coarser scales: a second of reading


def with_advice(
    assessment: Assessment, clues: Clues, images: Callable[[], tuple[Image, Image]], *, threads: int
) -> Assessment:
    """Return the assessment with the advice that follows from the clues, in the log too.

    `images`, which is called only if the alignment is bad or doubtful, returns both images, along the axes of their
    volumes.
    """
    pair = images() if assessment.verdict in (Verdict.BAD, Verdict.DOUBTFUL) else None
    if pair is not None:
        clues = replace(clues, symptoms=find_symptoms(*pair, clues.transform, threads=threads))
    found = advise(clues)
    if pair is not None and assessment.verdict is Verdict.BAD:
        found = _tried(pair, clues, threads) or [*found, unlike(clues.symptoms)]
    for advice in found:
        log.warning("advice: %s", advice.sentence)
    return replace(assessment, advice=tuple(found))


def _tried(images: tuple[Image, Image], clues: Clues, threads: int) -> list[Advice]:
    """Return the advice of the first trial that aligns the images, which makes other advice idle; else nothing."""
    log.info("trying other voxel sizes, mirrored axes and quarter turns")
    remedy = find_remedy(*images, threads=threads)
    return [] if remedy is None else [advice_of(remedy, clues.spacing)]


def read_overviews(fixed: ImageSource, moving: ImageSource) -> tuple[Image, Image]:
    """Return overviews of both images, along the axes of their volumes."""
    return fixed.read_overview(_SIZE), moving.read_overview(_SIZE)


def stated_spacing(source: ImageSource, side: Side) -> FloatTriple:
    """Return the voxel size (z, y, x) in µm as an option states it: before the division by the expansion."""
    return as_float_triple(d * side.expansion for d in source.grid.spacing)


def warn_of_bad_starts(transforms: Sequence[str]) -> None:
    """Warn before any work if a transform to start from was found to be bad, by the record beside it."""
    for path in transforms:
        record = Path(path).with_suffix(".json")
        with contextlib.suppress(OSError, ValueError, AttributeError):  # no record, or another file of this name
            if json.loads(record.read_text()).get("verdict") == Verdict.BAD:
                log.warning("the start %s is bad, as %s says: refining it seldom helps", path, record.name)
