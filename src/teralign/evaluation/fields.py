"""The smoothness of a map: SDlogJ, as the RnR-ExM challenge has it, and its folds.

SDlogJ is the standard deviation of log(clip(det J + 3, 10⁻⁹, 10⁹)) over the voxels of the fixed volume but the two
outermost on each side. J is the derivative of the map by central differences over the two neighbours along an axis.
The offset of 3, which Learn2Reg uses too, keeps folds in the logarithm's domain; so the value is about a quarter of
the spread of det J. J is taken in µm; in voxels it is the same where both volumes have the same voxel size.

Folds are counted where the trilinear cells at a voxel have a determinant of 0 or less, as `jacobian-map` does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from teralign.blockwise import WriteUnits
from teralign.evaluation.streaming import OnThreads, OverBlocks
from teralign.evaluation.volume_change import VolumeChange, VolumeChangeSummary
from teralign.grids import Floats, Grid, Region, Triple, as_triple
from teralign.transforms import DisplacementField, Stack, jacobian_determinants, node_positions

_OFFSET, _LOW, _HIGH = 3.0, 1e-9, 1e9
_BORDER = 2  # voxels on each side without a value
_NODES: Triple = (64, 64, 64)


@dataclass(frozen=True)
class FieldScores:
    """SDlogJ over `voxels` voxels, None if an axis has fewer than five; and the determinants, as `jacobian-map`."""

    sdlogj: float | None
    voxels: int
    jacobian: VolumeChangeSummary


def score_field(transform: Stack, grid: Grid, *, over: OverBlocks = OnThreads()) -> FieldScores:
    """Return the smoothness of a map from points of `grid`, the voxels of the fixed volume or a coarser lattice."""
    change, sums = VolumeChange(), np.zeros(3)

    def measure(core: Region) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        return _measured(transform, grid, core)

    for found, determinants in over(measure, WriteUnits(grid.shape, _NODES), "field"):
        sums = _merged(sums, found)
        change.add(determinants)
    count, _, squares = sums.tolist()
    sdlogj = math.sqrt(squares / count) if count else None
    return FieldScores(sdlogj, int(count), change.summary())


def _measured(transform: Stack, grid: Grid, core: Region) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Return the count, mean and sum of squares about it of log J in a core, and the determinants of its cells."""
    limits = grid.region.grow([int(n == 1) for n in grid.shape])
    reach = core.grow((1, 1, 1)).intersect(limits)
    box = grid.crop(reach)
    nodes = node_positions(box)
    moved = transform.load(*nodes[[0, -1]]).map_points(nodes) - nodes
    moved -= moved[0]  # a shift changes no volume, and without it float32 keeps more of the differences
    values = moved.reshape(*box.shape, 3)
    inner = core.relative_to(reach).slices
    folds = jacobian_determinants(DisplacementField(values.astype(np.float32), box))[inner]
    counted = core.intersect(grid.region.grow((-_BORDER,) * 3))
    if counted.size == 0:
        return np.zeros(3), folds
    determinants = central_determinants(values, grid.spacing, counted.relative_to(reach))
    logs = np.log(np.clip(determinants + _OFFSET, _LOW, _HIGH))
    return np.array([logs.size, logs.mean(), ((logs - logs.mean()) ** 2).sum()]), folds


def central_determinants(values: Floats, spacing: tuple[float, float, float], region: Region) -> Floats:
    """Return det(I + ∂u/∂x) in a region of nodes by central differences, of displacements (z, y, x, 3) around it."""
    jacobian = np.empty((*region.shape, 3, 3))
    for axis in range(3):
        ahead, behind = (_moved(region, axis, step) for step in (1, -1))
        jacobian[..., axis] = (values[ahead.slices] - values[behind.slices]) / (2 * spacing[axis])
    jacobian += np.eye(3)
    determinants: Floats = np.linalg.det(jacobian)
    return determinants


def _moved(region: Region, axis: int, step: int) -> Region:
    return region.shift(as_triple(step if other == axis else 0 for other in range(3)))


def _merged(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the count, mean and sum of squares about the mean of two sets of values together."""
    count = a[0] + b[0]
    if not count:
        return a
    apart = b[1] - a[1]
    return np.array([count, a[1] + apart * b[0] / count, a[2] + b[2] + apart**2 * a[0] * b[0] / count])
