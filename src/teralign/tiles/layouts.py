"""Layouts: positions mirrored, or with x and y exchanged, where a file means other axes than the images have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from teralign.grids import Floats, Triple

_AXES = "zyx"


@dataclass(frozen=True)
class Layout:
    """A way to lay out the tiles: x and y exchanged first with `swap`, then mirrored along the axes in `mirror`."""

    mirror: str = ""
    swap: bool = False

    def __str__(self) -> str:
        parts = (["x and y exchanged"] if self.swap else []) + [f"mirrored along {axis}" for axis in self.mirror]
        return " and ".join(parts) or "as they are"

    @property
    def options(self) -> str:
        """The options of import-tiles that lay tiles out so."""
        parts = (["--swap-xy"] if self.swap else []) + ([f"--mirror {','.join(self.mirror)}"] if self.mirror else [])
        return " ".join(parts)

    def place(self, positions: Floats) -> Floats:
        """Return the positions (n, 3) in z, y, x laid out so, within the same box where nothing is exchanged."""
        placed = positions[:, [0, 2, 1]] if self.swap else positions.copy()
        for axis in map(_AXES.index, self.mirror):
            placed[:, axis] = placed[:, axis].max() + placed[:, axis].min() - placed[:, axis]
        return placed

    def number(self, indices: Sequence[Triple | None]) -> list[Triple | None]:
        """Return the layer, row and column of each tile laid out so; None for those that have none."""
        known = [index for index in indices if index is not None]
        if not known:
            return list(indices)
        placed = iter(self.place(np.array(known, dtype=np.float64)).astype(int).tolist())
        return [None if index is None else tuple(next(placed)) for index in indices]


AS_IS = Layout()


def other_layouts() -> Iterator[Layout]:
    """Yield the seven ways to turn and mirror a grid in its plane."""
    for swap in (False, True):
        for mirror in ("", "x", "y", "xy"):
            if swap or mirror:
                yield Layout(mirror, swap)
