"""The levels of volumes, and the choice of those that each alignment reads where the user leaves it open."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from teralign.errors import InputError
from teralign.grids import FloatTriple
from teralign.pipeline.lookup import Located, is_image, open_anyhow
from teralign.pipeline.spacings import Spacings
from teralign.volumes import Volume

GLOBAL_VOXELS = 10**8
"""Voxels of a volume for the global alignment: of larger volumes its steps use samples, and gain nothing."""

GLOBAL_SECONDS = 10 * 60
LOCAL_SECONDS = 4 * 3600
"""Times that the alignments may take by the plan: a short break, and half a working day."""

_SAME_CLASS = 1.5  # voxel sizes that differ by less than half a step of a pyramid of factor 2, and some


@dataclass(frozen=True)
class KnownScale:
    """A level of an image: its name in the group, its number of voxels, and its mean voxel size in µm (geometric)."""

    name: str
    voxels: int
    size: float


@dataclass(frozen=True)
class Budget:
    """The memory in bytes for the global alignment, and what alignments need by the number of voxels.

    `global_bytes` takes the voxels of both volumes together, the times in seconds those of the fixed volume.
    """

    memory: int
    global_bytes: Callable[[int], int]
    global_seconds: Callable[[int], float]
    local_seconds: Callable[[int], float]


@dataclass(frozen=True)
class ScalePair:
    """A level of the fixed volume and the level of the moving one whose voxels are most like it."""

    fixed: KnownScale
    moving: KnownScale


def find_levels(located: Located, spacings: Spacings) -> list[KnownScale]:
    """Return the levels of an image, the finest first; a single one for a path that names an array.

    Raises InputError for a volume that cannot be opened, and where the voxel size of a level is unknown.
    """
    assert located.container is not None
    found = []
    for dataset in [located.group] if located.is_array else _datasets(located):
        volume = spacings.open(replace(located, datasets={"level": dataset}), "level")
        name = dataset.removeprefix(located.group).strip("/")
        found.append(KnownScale(name, volume.grid.region.size, _mean(volume.grid.spacing)))
    return sorted(found, key=lambda level: level.size)


def pair_levels(fixed: Sequence[KnownScale], moving: Sequence[KnownScale]) -> list[ScalePair]:
    """Return each level of the fixed volume with the most similar one of the moving volume, the finest first.

    Levels of the fixed volume whose counterpart differs in size more than the best one are left out.
    """
    pairs = [ScalePair(level, nearest_level(moving, level.size)) for level in fixed]
    closest = min(_difference(pair.fixed, pair.moving.size) for pair in pairs)
    return [p for p in pairs if _difference(p.fixed, p.moving.size) <= closest + math.log(_SAME_CLASS)]


def nearest_level(levels: Sequence[KnownScale], size: float) -> KnownScale:
    """Return the level whose voxels are nearest to this size in µm."""
    return min(levels, key=lambda level: _difference(level, size))


def choose_global(pairs: Sequence[ScalePair], budget: Budget) -> ScalePair:
    """Return the finest levels that the global alignment has memory and time for, else the coarsest ones."""
    for pair in pairs:
        fixed, moving = pair.fixed.voxels, pair.moving.voxels
        fits = max(fixed, moving) <= GLOBAL_VOXELS and budget.global_bytes(fixed + moving) <= budget.memory
        if fits and budget.global_seconds(fixed) <= GLOBAL_SECONDS:
            return pair
    return pairs[-1]


def choose_local(pairs: Sequence[ScalePair], budget: Budget) -> ScalePair:
    """Return the finest levels that the local alignment has time for, else the coarsest ones."""
    for pair in pairs:
        if budget.local_seconds(pair.fixed.voxels) <= LOCAL_SECONDS:
            return pair
    return pairs[-1]


def _datasets(located: Located) -> list[str]:
    """Return the datasets of the image in a group, from the container; the group itself if it has one level only."""
    first = _any_level(located)
    others = list(first.scales)
    if not others:
        return [located.group]
    assert located.container is not None
    own = [name for name in open_anyhow(located.container, others[0]).scales if name not in others]
    return [*own, *others]


def _any_level(located: Located) -> Volume:
    """Open a level of the image in a group: the finest if it can be told, else any."""
    container, group = located.container, located.group
    assert container is not None
    try:
        return open_anyhow(container, group)
    except InputError as error:
        base = container / group
        names = sorted(p.name for p in base.iterdir() if p.is_dir()) if base.is_dir() else []
        for dataset in ("/".join(filter(None, (group, name))) for name in names):
            if is_image(container, dataset):
                return open_anyhow(container, dataset)
        raise located.given.refuse(str(error)) from error


def _mean(spacing: FloatTriple) -> float:
    return math.prod(spacing) ** (1 / 3)


def _difference(level: KnownScale, size: float) -> float:
    return abs(math.log(level.size / size))
