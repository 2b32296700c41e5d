"""Overlap of label volumes: voxels of each label in the fixed, the aligned and the starting volume, and Dice.

Dice of a label is 2 |F ∩ A| / (|F| + |A|), the voxels of both volumes that have it. 0 is the background.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from teralign.errors import InputError

Labels: TypeAlias = NDArray[np.int64]
LabelCounts: TypeAlias = tuple[Mapping[int, int], Mapping[int, int], Mapping[int, int]]
"""Voxels by label: in the fixed block, in the aligned one, and in both at the same place."""


class LabelOverlap:
    """The counts of voxels by label in two volumes and where both agree, added block by block in any order."""

    def __init__(self) -> None:
        self.fixed: Counter[int] = Counter()
        self.aligned: Counter[int] = Counter()
        self.both: Counter[int] = Counter()

    def add(self, counts: LabelCounts) -> None:
        """Add the counts of a block, as `count_overlap` returns them."""
        for total, found in zip((self.fixed, self.aligned, self.both), counts, strict=True):
            total.update(found)

    def dice(self, label: int) -> float:
        """Return the Dice coefficient of a label; 0 where no volume has it."""
        total = self.fixed[label] + self.aligned[label]
        return 2 * self.both[label] / total if total else 0.0


def count_overlap(fixed: Labels, aligned: Labels) -> LabelCounts:
    """Return the voxels of each label in two blocks (z, y, x), and where they agree."""
    return count_labels(fixed), count_labels(aligned), count_labels(fixed[fixed == aligned])


def count_labels(labels: Labels) -> dict[int, int]:
    """Return the number of voxels of each label but 0."""
    found = labels[labels != 0]
    if not found.size:
        return {}
    low, high = int(found.min()), int(found.max())
    if high - low < 4 * found.size + 1024:
        counts = np.bincount(found - low)
        names = np.flatnonzero(counts)
        return dict(zip((names + low).tolist(), counts[names].tolist(), strict=True))
    names, counts = np.unique(found, return_counts=True)
    return dict(zip(names.tolist(), counts.tolist(), strict=True))


def as_labels(values: NDArray[np.generic], uri: str) -> Labels:
    """Return voxels as labels. Raises InputError for values that are no whole numbers."""
    if values.dtype.kind == "f" and not np.array_equal(values, np.rint(values)):
        raise InputError(f"{uri} holds values that are no whole numbers, so it is no label volume.")
    return values.astype(np.int64)
