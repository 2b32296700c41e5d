"""Scores of label volumes of any size, block by block: Dice, HD95, and Dice30, as challenges define them.

The labels that count are those that both the fixed and the moving volume have, as in RnR-ExM; 0 is the background.
Dice is 2 |F ∩ A| / (|F| + |A|), and HD95 is as `surfaces` defines it. A label that the alignment loses has a Dice of
0, and the diagonal of the fixed volume as its HD95. Dice30 is the mean Dice of the labels that were worst before the
alignment: 30 % of them, rounded down, but at least one; of equally bad ones those with the smallest numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from teralign.blockwise import WriteUnits
from teralign.errors import InputError
from teralign.evaluation.on_grid import OnGrid, Still
from teralign.evaluation.overlap import LabelCounts, LabelOverlap, as_labels, count_labels, count_overlap
from teralign.evaluation.streaming import BLOCK, OnThreads, OverBlocks
from teralign.evaluation.surfaces import Surface, SurfaceFile, hausdorff95, surface_of
from teralign.grids import Region, Triple

WORST_SHARE = 0.3


@dataclass(frozen=True)
class LabelScore:
    """The score of one label: its voxels, Dice before (None if unknown) and after alignment, and HD95 in µm."""

    label: int
    fixed_voxels: int
    aligned_voxels: int
    dice: float
    dice_before: float | None
    hd95_um: float | None


@dataclass(frozen=True)
class LabelScores:
    """Means over `labels` labels that both volumes have; `lost` of them are no longer there after alignment.

    `only_fixed` and `only_moving` count labels that do not count. `dice_before` and `dice30` are None where nothing
    is known of the start; `hd95_um` where it was not asked for.
    """

    labels: int
    lost: int
    only_fixed: int
    only_moving: int
    dice: float
    dice_before: float | None
    dice30: float | None
    dice30_before: float | None
    hd95_um: float | None
    per_label: Sequence[LabelScore]


@dataclass(frozen=True)
class LabelVolumes:
    """The fixed labels, the aligned ones on its grid, those on it before alignment if known, and all moving ones."""

    fixed: Still
    aligned: OnGrid
    before: OnGrid | None
    moving: Still


def score_labels(
    volumes: LabelVolumes,
    *,
    distances: bool = True,
    block: Triple = BLOCK,
    folder: Path | None = None,
    over: OverBlocks = OnThreads(),
) -> LabelScores:
    """Return the scores of aligned labels, a `block` of voxels at a time; temporary files are in `folder`.

    Raises InputError for volumes without a label in common, and for those that hold no labels.
    """
    grid = volumes.fixed.volume.grid
    with ExitStack() as files:
        surfaces = [files.enter_context(SurfaceFile(folder)) for _ in range(2)]
        after, before = LabelOverlap(), LabelOverlap()
        measure = _Blocks(volumes, grid.region, distances)
        for overlap, start, found in over(measure, WriteUnits(grid.shape, block), "labels"):
            after.add(overlap)
            before.add(start)
            for surface, file in zip(found, surfaces, strict=False):
                file.add(surface)
        labels = _labels_of(volumes.moving, block, over)
        common = sorted(labels & after.fixed.keys())
        if not common:
            raise InputError(_nothing_in_common(volumes, set(after.fixed), labels))
        for file in surfaces:
            file.finish()
        there = [label for label in common if after.aligned[label]] if distances else []
        hd95 = hausdorff95(surfaces[0], surfaces[1], there, spacing=grid.spacing, threads=over.threads)
    scores = [
        LabelScore(
            label=label,
            fixed_voxels=after.fixed[label],
            aligned_voxels=after.aligned[label],
            dice=after.dice(label),
            dice_before=before.dice(label) if volumes.before else None,
            hd95_um=hd95.get(label, math.hypot(*grid.extent)) if distances else None,
        )
        for label in common
    ]
    return summarise(scores, only_fixed=len(after.fixed) - len(common), only_moving=len(labels) - len(common))


def summarise(scores: Sequence[LabelScore], *, only_fixed: int, only_moving: int) -> LabelScores:
    """Return the means of the scores of labels, at least one."""
    worst = worst_labels(scores)
    return LabelScores(
        labels=len(scores),
        lost=sum(score.aligned_voxels == 0 for score in scores),
        only_fixed=only_fixed,
        only_moving=only_moving,
        dice=_mean([score.dice for score in scores]) or 0.0,
        dice_before=_mean([score.dice_before for score in scores]),
        dice30=_mean([score.dice for score in worst]),
        dice30_before=_mean([score.dice_before for score in worst]),
        hd95_um=_mean([score.hd95_um for score in scores]),
        per_label=scores,
    )


def worst_labels(scores: Sequence[LabelScore]) -> list[LabelScore]:
    """Return the scores of the 30 % of the labels with the lowest Dice before alignment; none if that is unknown."""
    known = [(score.dice_before, score.label, score) for score in scores if score.dice_before is not None]
    return [score for _, _, score in sorted(known)[: max(1, math.floor(WORST_SHARE * len(known)))]]


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


@dataclass(frozen=True)
class _Blocks:
    """The share of a block: overlaps after and before alignment, and the surfaces of the fixed and aligned labels."""

    volumes: LabelVolumes
    whole: Region
    distances: bool

    def __call__(self, core: Region) -> tuple[LabelCounts, LabelCounts, tuple[Surface, ...]]:
        halo = core.grow((1, 1, 1)).intersect(self.whole) if self.distances else core
        inner = core.relative_to(halo).slices
        name = self.volumes.fixed.volume.uri
        fixed = as_labels(self.volumes.fixed.read(halo), name)
        aligned = as_labels(self.volumes.aligned.read(halo), self.volumes.moving.volume.uri)
        start: LabelCounts = ({}, {}, {})
        if self.volumes.before is not None:
            before = as_labels(self.volumes.before.read(core), self.volumes.moving.volume.uri)
            start = count_overlap(fixed[inner], before)
        surfaces = tuple(surface_of(labels, halo, core) for labels in (fixed, aligned)) if self.distances else ()
        return count_overlap(fixed[inner], aligned[inner]), start, surfaces


def _labels_of(moving: Still, block: Triple, over: OverBlocks) -> set[int]:
    """Return all labels of a volume."""

    def found(region: Region) -> set[int]:
        return set(count_labels(as_labels(moving.read(region), moving.volume.uri)))

    labels: set[int] = set()
    for some in over(found, WriteUnits(moving.volume.grid.shape, block), "labels-moving"):
        labels |= some
    return labels


def _nothing_in_common(volumes: LabelVolumes, fixed: set[int], moving: set[int]) -> str:
    """Return the sentence for volumes that share no label."""
    for name, found in ((volumes.fixed.volume.uri, fixed), (volumes.moving.volume.uri, moving)):
        if not found:
            return f"{name} is 0 everywhere: it has no labels to compare."
    a, b = (", ".join(map(str, sorted(found)[:3])) for found in (fixed, moving))
    return (
        f"{volumes.fixed.volume.uri} and {volumes.moving.volume.uri} have no label in common (they have {a}, … and "
        f"{b}, …): the same object must have the same number in both."
    )
