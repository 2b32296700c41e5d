"""The directions of a stored array's axes in space, and the array turned so that they run along z, y, x.

NIfTI, NRRD and MetaImage give a direction to each axis of their array. ITK counts x to the left, y to the back and z
upwards (LPS), and so does Teralign: an axis that runs the other way is read backwards, axes in another order are
exchanged, and the origin is the position of the voxel that is then the first. So a voxel has the physical position
that ITK gives it.

An array that is turned by any other angle is oblique. Its voxels have positions along its own axes, and its
*direction* is the 3×3 matrix that takes these positions, about position 0, to positions in the world of ITK:

    world = direction · position,  position = origin + spacing · index

all (z, y, x) in µm. The matrix is a rotation; it may have a shear where NIfTI gives a general affine.
"""

from __future__ import annotations

import functools
import itertools
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from teralign.errors import InputError
from teralign.grids import Floats, FloatTriple, Grid, Triple, as_float_triple, as_triple
from teralign.volumes.units import is_size

log = logging.getLogger(__name__)

_STRAIGHT = 1e-4  # of a cosine: headers are rounded to float32, and quaternions lose half of its digits
VISIBLE = 0.5
"""Voxels: a smaller shift takes no voxel to the place of its neighbour."""
_FLAT = 1e3  # condition number of directions: beyond it, axes lie in one plane to within a tenth of a degree

Direction: TypeAlias = tuple[FloatTriple, FloatTriple, FloatTriple]
"""The rows of a 3×3 matrix from positions along a volume's own axes to positions in the world of ITK; (z, y, x)."""

Anatomical: TypeAlias = tuple[str | None, str | None, str | None]
LEFT_BACK_UP: Anatomical = ("inferior-to-superior", "anterior-to-posterior", "right-to-left")
"""The axes z, y, x of the world of a patient, in the words of RFC 4."""


@dataclass(frozen=True)
class Directions:
    """The directions of a volume's axes z, y, x.

    `matrix` is that of oblique axes, None for straight ones. `anatomical` has the orientations that OME-Zarr (RFC 4)
    gives to the axes, such as "left-to-right", None for an axis without one. `is_patient` is True if the file says
    that its world is that of a patient: NIfTI with a code, and NRRD with a space.
    """

    matrix: Direction | None = None
    anatomical: Anatomical = (None, None, None)
    is_patient: bool = False

    @property
    def compared(self) -> Anatomical:
        """The anatomical orientations, those of the world where the file says so."""
        return LEFT_BACK_UP if self.is_patient else self.anatomical


@dataclass(frozen=True)
class Orientation:
    """For each of z, y, x: the axis of the stored (z, y, x) array along it, and whether this runs backwards."""

    axes: Triple = (0, 1, 2)
    flipped: tuple[bool, bool, bool] = (False, False, False)

    @classmethod
    def nearest(cls, directions: Floats) -> Orientation:
        """Return the orientation that comes closest to the `directions` of the stored axes.

        `directions` (3, 3) has as column j the unit vector (z, y, x) of axis j (z, y, x).
        """
        if not np.isfinite(directions).all():
            return cls()
        orders = itertools.permutations(range(3))
        axes = max(orders, key=lambda order: sum(abs(directions[i, axis]) for i, axis in enumerate(order)))
        back = tuple(bool(directions[i, axis] < 0) for i, axis in enumerate(axes))
        return cls(as_triple(axes), cast("tuple[bool, bool, bool]", back))

    @property
    def directions(self) -> Floats:
        """The directions of the stored axes, as in `nearest`."""
        straight = np.zeros((3, 3))
        for i, (axis, back) in enumerate(zip(self.axes, self.flipped, strict=True)):
            straight[i, axis] = -1.0 if back else 1.0
        return straight

    def triple(self, values: Sequence[float]) -> FloatTriple:
        """Return lengths along the stored axes (z, y, x) in the order of the turned ones."""
        return as_float_triple(values[axis] for axis in self.axes)

    def shape(self, shape: Sequence[int]) -> Triple:
        """Return the shape of the turned array."""
        return as_triple(shape[axis] for axis in self.axes)

    def sizes(self, sizes: Sequence[float | None]) -> tuple[float | None, float | None, float | None]:
        """Return the stated voxel sizes of the stored axes in the order of the turned ones."""
        z, y, x = (sizes[axis] for axis in self.axes)
        return z, y, x

    def origin(self, first: Sequence[float], sizes: Sequence[float | None], shape: Sequence[int]) -> FloatTriple:
        """Return the origin of the turned array from the position (z, y, x) of the first stored voxel.

        `sizes` and `shape` are those of the turned array. Along an axis of unknown size, positions are in voxels.
        """
        steps = zip(first, sizes, shape, self.flipped, strict=True)
        return as_float_triple(
            o - (n - 1) * (size if is_size(size) else 1.0) if back else o for o, size, n, back in steps
        )

    def turn(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return a view of stored (t, z, y, x, c) voxels whose axes run along z, y, x."""
        turned = array.transpose(0, *(axis + 1 for axis in self.axes), 4)
        return turned[(slice(None), *(slice(None, None, -1 if back else 1) for back in self.flipped))]

    def to_stored(self, shape: Sequence[int]) -> Floats:
        """Return the affine (4, 4) from indices (z, y, x) of a turned array of `shape` to those of the stored one."""
        affine = np.eye(4)
        affine[:3, :3] = self.directions.T
        last = np.array([n - 1 if back else 0 for n, back in zip(shape, self.flipped, strict=True)])
        affine[:3, 3] = -self.directions.T @ last
        return affine


def straighten(name: str, first: Sequence[float], directions: Floats) -> tuple[FloatTriple, Direction | None]:
    """Return the position (z, y, x) of the first stored voxel along the volume's own axes, and their direction.

    `first` is its position in the world; `directions` are as in `Orientation.nearest`. The direction is None where
    the axes are straight. Logs a line where axes are oblique, read backwards, or in another order. Raises InputError
    where the axes lie in one plane.
    """
    straight = Orientation.nearest(directions)
    if not np.isfinite(directions).all() or np.allclose(directions, straight.directions, rtol=0, atol=_STRAIGHT):
        if straight != Orientation():
            _note_turned(name)
        return as_float_triple(first), None
    if np.linalg.cond(directions) > _FLAT:
        raise InputError(f"{name} has axes that lie in one plane; repair the directions in its header.")
    direction = directions @ straight.directions.T
    _note_oblique(name, angle(direction))
    z, y, x = (as_float_triple(row) for row in direction)
    return as_float_triple(straight.directions @ np.linalg.solve(directions, np.asarray(first))), (z, y, x)


def angle(direction: Floats | Direction) -> float:
    """Return the largest angle (degrees) between an axis and its direction."""
    cosines = np.diag(np.asarray(direction)) / np.linalg.norm(np.asarray(direction), axis=0)
    return float(np.rad2deg(np.arccos(np.clip(cosines.min(), -1.0, 1.0))))


def agree(one: Direction | None, other: Direction | None) -> bool:
    """Return whether two directions are the same to within the rounding of headers."""
    first, second = (np.eye(3) if direction is None else np.array(direction) for direction in (one, other))
    return bool(np.allclose(first, second, rtol=0, atol=_STRAIGHT))


def is_visible(direction: Direction, grid: Grid) -> bool:
    """Return whether a direction moves the far corner of a grid by more than half a voxel, relative to its origin."""
    moved = np.abs(np.array(direction) - np.eye(3)) @ ((np.array(grid.shape) - 1.0) * grid.spacing)
    return bool((moved > VISIBLE * np.array(grid.spacing)).any())


def compare_orientations(fixed: str, fixed_axes: Directions, moving: str, moving_axes: Directions) -> None:
    """Log a warning where the anatomical orientations of a fixed and a moving volume, of these names, differ."""
    pairs = zip("zyx", fixed_axes.compared, moving_axes.compared, strict=True)
    differing = tuple((axis, one, other) for axis, one, other in pairs if one and other and one != other)
    if differing:
        _warn_of_orientations(fixed, moving, differing[::-1])


@functools.lru_cache(maxsize=1024)
def _warn_of_orientations(fixed: str, moving: str, differing: tuple[tuple[str, str, str], ...]) -> None:
    """Log once for each pair."""
    axes = "; ".join(
        f"{axis} runs {one} in the fixed, {other} in the moving volume" for axis, one, other in differing
    )
    log.warning(
        "%s and %s have different anatomical orientations (%s): nothing is turned for this, so the transform has to",
        fixed,
        moving,
        axes,
    )


@functools.lru_cache(maxsize=1024)
def _note_turned(name: str) -> None:
    """Log once for each file: commands open it repeatedly."""
    log.info("%s is read with its axes turned to run along x, y and z as in ITK", name)


@functools.lru_cache(maxsize=1024)
def _note_oblique(name: str, degrees: float) -> None:
    """Log once for each file: commands open it repeatedly."""
    log.info("%s has axes that run oblique to x, y and z, by up to %.2g°; its voxels lie as in ITK", name, degrees)
