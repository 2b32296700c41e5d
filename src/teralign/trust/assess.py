"""The verdict on a registration: whether the map holds where both images show something.

Both images are compared on an overview, through the map without its fine detail (`smoothed_map`), block by block
(`confirmation`). Of the blocks that can be examined, the share P that confirms the map decides.
"""

from __future__ import annotations

import numpy as np

from teralign.grids import Region, as_float_triple
from teralign.registration import Image
from teralign.transforms import Stack
from teralign.trust.assessment import AssessedBlock, Assessment, Verdict
from teralign.trust.confirmation import Examined, examine
from teralign.trust.smoothed_map import smooth_map
from teralign.trust.structures import Structures, overview, structures_of

_SMOOTHING = 16.0  # voxels of the overview: detail below is left out, since a wrong map can invent it
_ENOUGH = 6  # blocks, with fewer nothing can be told
_GOOD, _BAD = 0.60, 0.45  # shares of confirmed blocks: of known pairs all wrong ones had less than 0.45


def assess(fixed: Image, moving: Image, transform: Stack, *, threads: int = 1) -> Assessment:
    """Judge a map from fixed to moving points (z, y, x) in µm by the two images.

    The images may have any size; they are averaged to some million voxels. The result depends on the images and the
    map only, not on `threads`.
    """
    fixed, moving = overview(fixed), overview(moving)
    z, y, x = (_SMOOTHING * d for d in fixed.grid.spacing)
    smooth = smooth_map(transform, fixed.grid, (z, y, x), threads=threads)
    structures = structures_of(fixed, moving, smooth, threads=threads)
    examined = examine(structures)
    confirmed = sum(block.confirmed for block in examined)
    verdict, sentence = _judge(confirmed, len(examined))
    return Assessment(
        verdict=verdict,
        sentence=sentence,
        error_um=None,
        confirmed=confirmed,
        examined=len(examined),
        reasons=() if verdict is Verdict.GOOD else (sentence,),
        advice=(),
        blocks=tuple(_assessed(block, structures) for block in examined),
    )


def not_assessed(reason: str) -> Assessment:
    """Return the assessment of a map that was not examined, for this `reason`, a sentence."""
    return Assessment(Verdict.UNKNOWN, reason, None, 0, 0, (reason,), (), ())


def _judge(confirmed: int, examined: int) -> tuple[Verdict, str]:
    """Return the verdict, and the sentence that says what it rests on."""
    if examined < _ENOUGH:
        return (
            Verdict.UNKNOWN,
            f"Only {examined} blocks show enough of both images to be compared: look at them.",
        )
    counted = f"{confirmed} of {examined} blocks agree best where the map puts them"
    share = confirmed / examined
    if share >= _GOOD:
        return Verdict.GOOD, f"Aligned: {counted}."
    if share >= _BAD:
        return Verdict.DOUBTFUL, f"Doubtful: only {counted}."
    return Verdict.BAD, f"Not aligned: only {counted}."


def _assessed(block: Examined, structures: Structures) -> AssessedBlock:
    start, size = _box(block.region, structures)
    verdict = Verdict.GOOD if block.confirmed else Verdict.BAD
    return AssessedBlock(start, size, verdict, round(block.margin, 4), None)


def _box(region: Region, structures: Structures) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Return the low corner and the size of a block (z, y, x) in µm, from outer face to outer face."""
    low = structures.grid.to_physical(np.array(region.start) - 0.5)
    size = np.array(region.shape) * structures.grid.spacing
    return as_float_triple(low), as_float_triple(size)
