"""The control points of a deformation: a cubic B-spline, its smoothness, and the linear solve of a step.

One control point sits in the middle of each cell of the fixed image, and MARGIN more beyond each face. Bending is
Σ_de s_d s_e ‖D_d D_e c‖² over the control values c, with D the difference between neighbours and s_d = (ℓ/h_d)², so
that ℓ, a length in µm, sets how fine a deformation may be, whatever the spacing h of the control points. Affine
deformations bend nothing.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from teralign.grids import Bools, Grid, Triple
from teralign.registration import deform_kernels as kernels
from teralign.registration.deform_kernels import F32, F64, MARGIN, PAD
from teralign.transforms import DisplacementField, cell_determinants
from teralign.transforms.threads import ThreadPool

_ENOUGH = 0.05  # share of the residual that ends a solve: the next step starts afresh anyway
_REFITS = 4  # the error shrinks to a third each time, and to less where the spline is smooth
_SMOOTHINGS = 30  # tries before the whole deformation shrinks
_SHRINKINGS, _SHRINKING = 10, 0.7  # 0.7¹⁰ leaves 3 %, which folds nothing

_ENTRY = ((0, 3, 4), (3, 1, 5), (4, 5, 2))
"""The place of each entry of a symmetric matrix among zz, yy, xx, zy, zx, yx."""


@dataclass(frozen=True)
class Lattice:
    """The control points over a `grid` of voxels cut into cells of `cell` (z, y, x) voxels."""

    grid: Grid
    cell: Triple

    @property
    def cells(self) -> Triple:
        """The number of cells along each axis; the last may reach beyond the grid."""
        z, y, x = (-(-n // c) for n, c in zip(self.grid.shape, self.cell, strict=True))
        return z, y, x

    @property
    def points(self) -> Grid:
        """The grid of the control points."""
        z, y, x = (n + 2 * MARGIN for n in self.cells)
        first = [(c - 1) / 2 - MARGIN * c for c in self.cell]
        spacing = np.array(self.grid.spacing) * self.cell
        return Grid((z, y, x), tuple(spacing), tuple(self.grid.to_physical(first)))

    def zeros(self) -> F32:
        """Return the control values (3, z, y, x) of the deformation that moves nothing."""
        return np.zeros((3, *self.points.shape), np.float32)

    def sample(self, c: F32, grid: Grid, pool: ThreadPool) -> F32:
        """Return the spline (z, y, x, 3) in µm at the nodes of any grid; constant from a cell beyond the faces on."""
        points = self.points
        places = []
        for d in range(3):
            at = (grid.origin[d] - points.origin[d] + np.arange(grid.shape[d]) * grid.spacing[d]) / points.spacing[d]
            places.append(np.clip(at, 1.0, points.shape[d] - 2 - 1e-6))
        out = np.empty((*grid.shape, 3), np.float32)
        pool.run(kernels.sample_spline, grid.shape[0], c, *places, out)
        return out

    def refit(self, c: F32, coarse: Lattice, pool: ThreadPool) -> F32:
        """Return control values of this lattice for the spline `c` of another."""
        values = np.ascontiguousarray(np.moveaxis(coarse.sample(c, self.points, pool), -1, 0))
        fitted = values.copy()
        for _ in range(_REFITS):
            fitted += values - _at_points(fitted)
        return fitted


def _at_points(c: F32) -> F32:
    """Return the spline's values at its control points; beyond the faces it continues linearly."""
    for axis in (1, 2, 3):
        ends = [(0, 0)] * 4
        ends[axis] = (1, 1)
        padded = np.moveaxis(np.pad(c, ends, mode="reflect", reflect_type="odd"), axis, 0)
        c = np.moveaxis((padded[:-2] + 4 * padded[1:-1] + padded[2:]) * np.float32(1 / 6), 0, axis)
    return c


def spread(force: F32) -> F32:
    """Return forces on cells as forces on control points, by the weight of each point in the middle of the cell."""
    out: F32 = np.pad(force, ((0, 0), *[(MARGIN, MARGIN)] * 3))
    for axis in (1, 2, 3):
        lines = np.moveaxis(out, axis, 0)
        sums = lines * np.float32(4 / 6)
        sums[:-1] += lines[1:] * np.float32(1 / 6)
        sums[1:] += lines[:-1] * np.float32(1 / 6)
        out = np.moveaxis(sums, 0, axis)
    return np.ascontiguousarray(out)


@functools.lru_cache(maxsize=64)  # every solve asks for the same: a tenth of the time of a small image
def _bands(length: int) -> tuple[F32, F32]:
    """Return the rows of D₂ᵀD₂ (length, 5) and D₁ᵀD₁ (length, 3): second and first differences, cut at the faces."""
    bands = []
    for order in (2, 1):
        difference = np.diff(np.eye(length), order, axis=0)
        square = np.pad(difference.T @ difference, ((0, 0), (order, order)))
        bands.append(np.stack([square[i, i : i + 2 * order + 1] for i in range(length)]).astype(np.float32))
    return bands[0], bands[1]


def _diagonal(scale: F64, bands: kernels.Bands) -> F32:
    """Return the diagonal of the bending matrix at each control point."""
    second, first = (
        [b[kind][:, 2 - kind].reshape([-1 if e == d else 1 for e in range(3)]) for d, b in enumerate(bands)]
        for kind in (0, 1)
    )
    total = sum(scale[d] ** 2 * second[d] for d in range(3))
    total = total + sum(2 * scale[d] * scale[e] * first[d] * first[e] for d, e in ((0, 1), (0, 2), (1, 2)))
    return np.asarray(total, dtype=np.float32)


def solve(force: F32, stiffness: F32, c: F32, *, scale: F64, iterations: int, pool: ThreadPool) -> F32:
    """Return the step δ (3, lattice) that minimises δᵀHδ/2 − bᵀδ + bending(c + δ)/2, by conjugate gradients.

    H is the cells' `stiffness` (6, cells), lumped at the control points; b the `force` on these (see `spread`);
    `scale` (3) is s of the bending energy, with its weight.
    """
    shape = c.shape[1:]
    bands = _bands(shape[0]), _bands(shape[1]), _bands(shape[2])
    p, q, r, s, delta = (np.zeros((3, *[n + 2 * PAD for n in shape]), np.float32) for _ in range(5))
    partial = np.zeros(shape[0])
    inner = (slice(None), *[slice(PAD, -PAD)] * 3)
    p[inner] = c
    pool.run(kernels.multiply, shape[0], p, scale, bands, np.zeros_like(stiffness), q, partial)
    r[inner] = force - q[inner]
    inverse = np.empty((6, *shape), np.float32)
    pool.run(kernels.invert_blocks, shape[0], stiffness, _diagonal(scale, bands), inverse)
    p[:] = 0
    pool.run(kernels.descend, shape[0], 0.0, p, q, inverse, delta, r, s, partial)
    descent = target = float(partial.sum())
    p[:] = s
    for _ in range(iterations):
        if descent <= _ENOUGH**2 * target:
            break
        pool.run(kernels.multiply, shape[0], p, scale, bands, stiffness, q, partial)
        alpha = descent / float(partial.sum())
        pool.run(kernels.descend, shape[0], alpha, p, q, inverse, delta, r, s, partial)
        before, descent = descent, float(partial.sum())
        pool.run(kernels.turn, shape[0], s, descent / before, p)
    return np.ascontiguousarray(delta[inner])


def bending(c: F32, spacing: Sequence[float]) -> float:
    """Return Σ_de ‖D_d D_e c‖²/(h_d h_e)², the squared second derivatives of a displacement at all control points."""
    total = 0.0
    for d, e in itertools.product(range(3), repeat=2):
        differences = np.diff(np.diff(c, axis=1 + d), axis=1 + e)
        total += float(np.square(differences, out=differences).sum(dtype=np.float64)) / (spacing[d] * spacing[e]) ** 2
    return total


def effective_parameters(stiffness: F32, shape: Triple, *, scale: F64, iterations: int, pool: ThreadPool) -> float:
    """Return the number of control values that the data determine, tr((H + L)⁻¹H), from one vector of random signs.

    H and L are those of `solve`; `shape` is that of the control points. The signs are always the same.

    Hutchinson: A stochastic estimator of the trace of the influence matrix, 1990.
    """
    signs = np.random.default_rng(0).integers(0, 2, (3, *stiffness.shape[1:]), dtype=np.int8) * np.float32(2) - 1
    margins = ((0, 0), *[(MARGIN, MARGIN)] * 3)
    turned = np.zeros_like(signs)
    for d, e in itertools.product(range(3), repeat=2):
        turned[d] += stiffness[_ENTRY[d][e]] * signs[e]
    zeros = np.zeros((3, *shape), np.float32)
    found = solve(np.pad(turned, margins), stiffness, zeros, scale=scale, iterations=iterations, pool=pool)
    return float(np.multiply(found, np.pad(signs, margins)).sum(dtype=np.float64))


def remove_folds(
    lattice: Lattice, c: F32, nodes: Grid, *, min_jacobian: float, pool: ThreadPool
) -> tuple[F32, F32, float]:
    """Smooth control values wherever the Jacobian determinant on `nodes` is below `min_jacobian`, until none is.

    Returns the values, the field (z, y, x, 3) on the nodes, and its smallest determinant. Where smoothing does not
    help, the whole deformation shrinks.
    """
    reach = 1
    for attempt in range(_SMOOTHINGS + _SHRINKINGS):
        field = lattice.sample(c, nodes, pool)
        determinants = cell_determinants(DisplacementField(field, nodes), threads=pool.threads)
        smallest = float(determinants.min())
        if smallest >= min_jacobian:
            return c, field, smallest
        if attempt < _SMOOTHINGS:
            c = _smoothed(c, _around(lattice, nodes, determinants < min_jacobian, reach))
        else:
            c = c * np.float32(_SHRINKING)
        reach = 1 + attempt // 5  # a fold that persists is wider than a control point
    zero = lattice.zeros()
    return zero, lattice.sample(zero, nodes, pool), 1.0


def _around(lattice: Lattice, nodes: Grid, marked: Bools, reach: int) -> F32:
    """Return 1 at the control points within `reach` of a marked cell (z, y, x) between nodes, 0 elsewhere."""
    points = lattice.points
    index = np.rint(points.to_index(nodes.to_physical(np.argwhere(marked) + 0.5))).astype(int)
    found = np.zeros(points.shape, np.float32)
    found[tuple(np.clip(index, 0, np.array(points.shape) - 1).T)] = 1
    return np.asarray(ndimage.maximum_filter(found, 2 * reach + 1, mode="constant"))


def _smoothed(c: F32, where: F32) -> F32:
    """Return the control values, blurred by (1, 4, 1)/6 twice where `where` is 1."""
    return np.ascontiguousarray(c + where * (_at_points(_at_points(c)) - c))
