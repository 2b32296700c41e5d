"""The verdict on a registration: whether the map holds where both images show something.

Both images are compared on an overview, through the map without its fine detail (`smoothed_map`), block by block
(`confirmation`). The share of blocks that confirm the map decides, if there are enough of them to exclude chance. A
block that confirms may still be off by a few voxels: then its structures agree best at another shift than the whole
map, with its fine detail, says.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import bdtr, bdtrc  # scipy.stats takes long to import, in every process

from teralign.grids import Floats, FloatTriple, Grid, Region, as_float_triple
from teralign.registration import Image
from teralign.transforms import Affine, Stack
from teralign.trust.assessment import AssessedBlock, Assessment, ErrorEstimate, Verdict
from teralign.trust.confirmation import Examination, Examined, examine
from teralign.trust.offsets import offsets_of
from teralign.trust.smoothed_map import MAP_SMOOTHING, smooth_map
from teralign.trust.structures import overview, structures_of

_GOOD, _BAD = 0.70, 0.45
"""Shares of confirmed blocks. Of the known pairs (docs/trust.md) all wrong ones had less than `_BAD`, all right ones
more than 0.6, and those with a fifth to a third of their tissue wrong lay about `_GOOD`."""
_BAD_LINEAR = 0.30
"""The same of a linear map, which follows no tissue that bends, but cannot be fitted to anything either: of the known
pairs wrong ones had less than 0.2."""
_CHANCE, _CHANCE_STRONG = 0.30, 0.05
"""Shares of blocks, and of strong ones, that confirm a wrong map to which a deformation was fitted, at most."""
_CERTAIN = 2e-3  # probability by chance of as many confirmed blocks, below which they count
_RIGHT = 0.90  # share of the blocks of a right map that confirm it
_UNLIKELY = 0.01  # probability of as few confirmed blocks of a right map, below which it is wrong
_REFUTED = 0.10  # share of blocks that agree elsewhere, above which a good verdict is doubtful
_EMPTY = 0.80  # share of blocks where the moving image shows nothing, above which it is the wrong image
_OFF = 2.5  # voxels between the place of the map and that of the structures, from which a block is off
_SHARE_OFF = 0.25  # of the confirmed blocks, above which a good verdict is doubtful


def assess(
    fixed: Image,
    moving: Image,
    transform: Stack,
    *,
    error_um: ErrorEstimate | None = None,
    threads: int = 1,
) -> Assessment:
    """Judge a map from fixed to moving points (z, y, x) in µm by the two images.

    The images may have any size; they are averaged to some million voxels. `error_um` is an estimate of the error
    from elsewhere, which the assessment passes on. The result depends on the images and the map only, not on
    `threads`.
    """
    fixed, moving = overview(fixed), overview(moving)
    sigma = as_float_triple(MAP_SMOOTHING * d for d in fixed.grid.spacing)
    smooth = smooth_map(transform, fixed.grid, sigma, threads=threads)
    examination = examine(structures_of(fixed, moving, smooth, threads=threads))
    offsets = _distances(offsets_of(examination.blocks, transform, smooth, fixed.grid), fixed.grid)
    tally = Tally.of(examination, offsets)
    verdict, sentence, reasons = _judge(tally, linear=all(isinstance(part, Affine) for part in transform.transforms))
    return Assessment(
        verdict=verdict,
        sentence=sentence,
        error_um=error_um,
        confirmed=tally.confirmed,
        examined=tally.examined,
        reasons=tuple(reasons),
        advice=(),
        blocks=tuple(_assessed_blocks(examination, offsets, fixed.grid)),
    )


def not_assessed(reason: str) -> Assessment:
    """Return the assessment of a map that was not examined, for this `reason`, a sentence."""
    return Assessment(Verdict.UNKNOWN, reason, None, 0, 0, (reason,), (), ())


@dataclass(frozen=True)
class Tally:
    """Numbers of blocks by what they say; `independent` is the share of them that do not overlap.

    `off` blocks are confirmed, but their structures lie `_OFF` voxels and more from the place of the whole map;
    `off_um` is their median distance in µm. Blocks `at_surfaces` show little but the surfaces of tissue.
    """

    examined: int
    confirmed: int
    strong: int
    refuted: int
    off: int
    off_um: float
    empty: int
    outside: int
    at_surfaces: int
    independent: float

    @classmethod
    def of(cls, examination: Examination, offsets: Floats) -> Tally:
        """Count the blocks; `offsets` (n, 2) are distances from the map's place, in voxels and in µm."""
        blocks = examination.blocks
        off = np.array([b.confirmed for b in blocks], bool) & (offsets[:, 0] >= _OFF)
        return cls(
            examined=len(blocks),
            confirmed=sum(b.confirmed for b in blocks),
            strong=sum(b.strong for b in blocks),
            refuted=sum(b.refuted for b in blocks),
            off=int(off.sum()),
            off_um=float(np.median(offsets[off, 1])) if off.any() else 0.0,
            empty=len(examination.empty),
            outside=len(examination.outside),
            at_surfaces=len(examination.at_surfaces),
            independent=examination.independent,
        )

    @property
    def share(self) -> float:
        """The share of examined blocks that confirm the map."""
        return self.confirmed / max(1, self.examined)

    def by_chance(self) -> float:
        """Return the probability that a wrong map has as many confirmed blocks, or as many strong ones."""
        n, confirmed, strong = (self.worth(count) for count in (self.examined, self.confirmed, self.strong))
        counts = ((confirmed, _CHANCE), (strong, _CHANCE_STRONG))
        return min(1.0, 2 * min(float(bdtrc(count - 1, n, chance)) if count else 1.0 for count, chance in counts))

    def if_right(self) -> float:
        """Return the probability that a right map has so few confirmed blocks."""
        n = max(1, self.worth(self.examined))
        return float(bdtr(self.worth(self.confirmed), n, _RIGHT))

    def worth(self, count: int) -> int:
        """Return how many blocks without overlap `count` blocks are worth, rounded down."""
        return math.floor(count * self.independent + 1e-9)


def _judge(tally: Tally, *, linear: bool) -> tuple[Verdict, str, list[str]]:
    """Return the verdict, the sentence that says what it rests on, and the reasons if it is not good."""
    shown = tally.examined + tally.empty
    if shown and tally.empty >= _EMPTY * shown and tally.worth(shown) >= 2:
        return _no(Verdict.BAD, "Not aligned: the moving image shows nothing where the fixed image shows tissue.")
    if not tally.examined:
        why = "no block shows structures in both images"
        if tally.at_surfaces:
            why = "the images show little but the surfaces of tissue, which other tissue may have in common"
        if tally.outside:
            why = "the map puts nearly all of the fixed image outside the moving one"
        return _no(Verdict.UNKNOWN, f"It cannot be told: {why}.")
    counted = f"{tally.confirmed} of {tally.examined} blocks agree best where the map puts them"
    likely = tally.by_chance() < _CERTAIN
    if tally.share < (_BAD_LINEAR if linear else _BAD):
        if tally.if_right() < _UNLIKELY:
            return _no(Verdict.BAD, f"Not aligned: only {counted}.")
        return _no(Verdict.UNKNOWN, f"It cannot be told: {counted}, too few to judge by.")
    if not likely:
        return _no(Verdict.UNKNOWN, f"It cannot be told: {counted}, which may be chance.")
    reasons = _doubts(tally, counted, linear=linear)
    if reasons:
        return Verdict.DOUBTFUL, f"Doubtful: {reasons[0][0].lower()}{reasons[0][1:]}", reasons
    return Verdict.GOOD, f"Aligned: {counted}.", []


def _no(verdict: Verdict, sentence: str) -> tuple[Verdict, str, list[str]]:
    return verdict, sentence, [sentence]


def _doubts(tally: Tally, counted: str, *, linear: bool) -> list[str]:
    """Return the reasons to doubt a map that most blocks confirm."""
    reasons = []
    if tally.share < _GOOD:
        reasons.append(f"Only {counted}{'; tissue that bends needs a deformation' if linear else ''}.")
    if tally.refuted > _REFUTED * tally.examined:
        reasons.append(f"{tally.refuted} of {tally.examined} blocks agree better at another place.")
    if tally.off > _SHARE_OFF * tally.confirmed:
        reasons.append(f"{tally.off} of {tally.confirmed} blocks seem to be off by {tally.off_um:.3g} µm or more.")
    return reasons


def _distances(offsets: Floats, grid: Grid) -> Floats:
    """Return how long offsets (n, 3) in µm are: (n, 2), in voxels and in µm."""
    voxels = offsets / np.array(grid.spacing)
    return np.stack([np.sqrt((voxels**2).sum(axis=1)), np.sqrt((offsets**2).sum(axis=1))], axis=1)


def _assessed_blocks(examination: Examination, offsets: Floats, grid: Grid) -> list[AssessedBlock]:
    """Return all blocks that show structures in the fixed image, from the first voxel to the last."""
    found = []
    for block, (off, _) in zip(examination.blocks, offsets, strict=True):
        start, size = _box(block.region, grid)
        found.append(AssessedBlock(start, size, _verdict_of(block, off), round(block.margin, 4), None))
    for region in (*examination.empty, *examination.outside, *examination.at_surfaces):
        found.append(AssessedBlock(*_box(region, grid), Verdict.UNKNOWN, None, None))
    return sorted(found, key=lambda block: block.start)


def _verdict_of(block: Examined, off: float) -> Verdict:
    if block.confirmed:
        return Verdict.GOOD if off < _OFF else Verdict.DOUBTFUL
    return Verdict.BAD if block.refuted else Verdict.DOUBTFUL


def _box(region: Region, grid: Grid) -> tuple[FloatTriple, FloatTriple]:
    """Return the low corner and the size of a block (z, y, x) in µm, from outer face to outer face."""
    low = grid.to_physical(np.array(region.start) - 0.5)
    return as_float_triple(low), as_float_triple(np.array(region.shape) * grid.spacing)
