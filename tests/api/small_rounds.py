"""Two small rounds with a known map, in memory and in files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

import teralign as ta
from teralign.grids import Grid
from teralign.transforms import Affine

SPACING = (2.5, 2.0, 2.0)
GRID = Grid((40, 48, 44), SPACING)


@dataclass(frozen=True)
class Rounds:
    """The arrays (z, y, x) of two rounds, their map, and files of them: TIFF, which has no coarser scales."""

    fixed: np.ndarray
    moving: np.ndarray
    truth: Affine
    folder: Path

    @property
    def files(self) -> tuple[ta.Side, ta.Side]:
        fixed, moving = (ta.Side(f"{self.folder}/{role}.tif", spacing=SPACING) for role in ("fixed", "moving"))
        return fixed, moving


def placed(scale: list[float], translation: list[float]) -> list[dict[str, object]]:
    """The coordinate transformations of a level of OME-Zarr."""
    return [{"type": "scale", "scale": scale}, {"type": "translation", "translation": translation}]
