"""A multiscale image as OME-Zarr describes it, the same value for every version of the specification.

Voxel i of a level lies at scale · i + translation, axis by axis, in the units of the axes. The steps of a level that
give scale and translation include those of its group, which come after its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from teralign.grids import Floats


@dataclass(frozen=True)
class Axis:
    """An axis of the arrays: `kind` is "time", "channel", "space", "displacement", or "" if unknown.

    `orientation` is the anatomical one of RFC 4, such as "left-to-right", None if not given.
    """

    name: str
    kind: str
    unit: str | None = None
    discrete: bool = False
    orientation: str | None = None


@dataclass(frozen=True)
class Step:
    """One coordinate transformation: `kind` is as in the metadata, `values` are None where it has no numbers."""

    kind: str
    values: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Level:
    """An array of the image: its path in the group, and the steps from its voxels to space."""

    path: str
    steps: tuple[Step, ...] = ()

    @classmethod
    def placed(cls, path: str, scale: Iterable[float], translation: Iterable[float]) -> Level:
        """Return the level whose voxel 0 lies at `translation` and whose voxels are `scale` apart."""
        return cls(path, (Step("scale", tuple(scale)), Step("translation", tuple(translation))))

    def transform(self, ndim: int) -> tuple[Floats, Floats]:
        """Return scale and translation (ndim,) along all axes.

        Raises ValueError for a step that is neither the identity nor a scale or translation of `ndim` numbers.
        """
        scale, translation = np.ones(ndim), np.zeros(ndim)
        for step in self.steps:
            if step.kind == "identity":
                continue
            if step.kind not in ("scale", "translation") or step.values is None or len(step.values) != ndim:
                raise ValueError(f"{step.kind} of {len(step.values or ())} numbers for {ndim} axes")
            values = np.array(step.values)
            if step.kind == "scale":
                scale, translation = scale * values, translation * values
            else:
                translation = translation + values
        return scale, translation


@dataclass(frozen=True)
class Channel:
    """The name of a channel and its initial display in viewers; values that the metadata lack are None.

    `colour` is RRGGBB; `window` has the smallest and the largest possible value, and the first and last one shown.
    """

    name: str
    colour: str | None = None
    window: tuple[float, float, float, float] | None = None


@dataclass(frozen=True)
class Multiscale:
    """An image as levels from fine to coarse; `axes` are None where the metadata do not declare them.

    `method` says how the coarser levels were made, `method_description` in a sentence; `space` names the coordinate
    system that the levels lead to.
    """

    levels: tuple[Level, ...]
    axes: tuple[Axis, ...] | None = None
    channels: tuple[Channel, ...] = ()
    name: str | None = None
    method: str | None = None
    method_description: str | None = None
    is_label: bool = False
    space: str | None = None

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths of the levels in the group, finest first."""
        return tuple(level.path for level in self.levels)

    def level(self, path: str) -> Level:
        """Return the level of this path. Raises KeyError where there is none."""
        for level in self.levels:
            if level.path == path:
                return level
        raise KeyError(path)
