"""The layers that a viewer shows: of voxels and of points, with colours and windows, whatever the viewer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from numpy.typing import NDArray

from teralign.grids import Floats, Grid, Region
from teralign.viewing.pyramids import ScaledVolume
from teralign.volumes import Direction, DisplaySettings, window_of

_SAMPLED_VOXELS = 4_000_000  # for a window: a level of 256 × 128 × 128 voxels is read in a fraction of a second
_UNIT = (64, 64, 64)


class LayerKind(StrEnum):
    """The values of a layer: intensities in one colour, ids of labels, or lengths in µm as a map of colours."""

    IMAGE = "image"
    LABELS = "labels"
    LENGTHS = "lengths"


@dataclass(frozen=True)
class Layer:
    """One channel of a volume, as a viewer shows it.

    `window` has the values shown as black and as full colour; `colour` is RRGGBB. `direction` takes positions along
    the volume's own axes to the world, None where they are the same.
    """

    name: str
    pyramid: ScaledVolume
    kind: LayerKind = LayerKind.IMAGE
    channel: int = 0
    timepoint: int = 0
    colour: str = "FFFFFF"
    window: tuple[float, float] = (0.0, 1.0)
    visible: bool = True
    direction: Direction | None = None


@dataclass(frozen=True)
class Points:
    """Points (n, 3) of the world, z, y, x in µm."""

    name: str
    points: Floats
    colour: str = "FFFF00"


@dataclass(frozen=True)
class LayeredView:
    """Layers over the space of the fixed volume, whose `grid` along axes of `direction` is shown at first."""

    grid: Grid
    direction: Direction | None
    layers: Sequence[Layer]
    points: Sequence[Points] = ()


def shown_window(
    pyramid: ScaledVolume, *, channel: int = 0, timepoint: int = 0, display: DisplaySettings | None = None
) -> tuple[float, float]:
    """Return the values that are black and full colour: those of `display`, else from voxels of the coarsest scale.

    Voxels of 0 do not count, since the outside of a warped or stitched volume says nothing of its contrast. It is
    (0, 1) where there are no others. Raises DataError when voxels cannot be read.
    """
    if display is not None and display.window is not None:
        return display.window[2:]
    level = len(pyramid.grids) - 1

    def read(region: Region, at: int) -> NDArray[Any]:
        voxels = pyramid.read(region, channel=channel, timepoint=timepoint, level=level)
        kept: NDArray[Any] = voxels[voxels != 0]
        return kept

    found = window_of(read, pyramid.grids[level], _UNIT, 1, pyramid.dtype, max_voxels=_SAMPLED_VOXELS)
    return (0.0, 1.0) if found is None else found[2:]
