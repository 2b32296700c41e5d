"""The control points of a deformation: a cubic B-spline, its smoothness, and the linear solve of a step.

One control point sits in the middle of each cell of the fixed image, and MARGIN more beyond each face. Bending is
Σ_de s_d s_e ‖D_d D_e c‖² over the control values c, with D the difference between neighbours and s_d = (ℓ/h_d)², so
that ℓ, a length in µm, sets how fine a deformation may be, whatever the spacing h of the control points. Affine
deformations bend nothing.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from teralign.grids import Grid, Triple
from teralign.registration import kernels
from teralign.registration.kernels import F32, F64, MARGIN, PAD

_ENOUGH = 0.05
"""A solve ends when its residual has shrunk to this share: the next step starts afresh anyway."""

_ENTRY = ((0, 3, 4), (3, 1, 5), (4, 5, 2))
"""Where the entries of a symmetric matrix stand among zz, yy, xx, zy, zx, yx."""


class Crew:
    """Runs a compiled loop in ranges of its slowest axis on a number of threads.

    Not numba's own threads: its portable layer ends the process when two threads of a worker use it at once.
    """

    def __init__(self, threads: int) -> None:
        self._threads = max(1, min(threads, os.cpu_count() or 1))
        self._pool = ThreadPoolExecutor(self._threads) if self._threads > 1 else None

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown()

    def run(self, loop: Callable[..., None], count: int, *arguments: Any) -> None:  # noqa: ANN401
        """Call `loop(first, last, *arguments)` on ranges that cover 0 … count."""
        pieces = min(4 * self._threads, count)
        if self._pool is None or pieces < 2:
            loop(0, count, *arguments)
            return
        edges = [count * i // pieces for i in range(pieces + 1)]
        jobs = [self._pool.submit(loop, a, b, *arguments) for a, b in itertools.pairwise(edges)]
        for job in jobs:
            job.result()


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
        """The control points."""
        z, y, x = (n + 2 * MARGIN for n in self.cells)
        first = [(c - 1) / 2 - MARGIN * c for c in self.cell]
        spacing = np.array(self.grid.spacing) * self.cell
        return Grid((z, y, x), tuple(spacing), tuple(self.grid.to_physical(first)))

    def zeros(self) -> F32:
        """Control values of the deformation that moves nothing."""
        return np.zeros((3, *self.points.shape), np.float32)

    def sample(self, c: F32, grid: Grid, crew: Crew) -> F32:
        """The spline (z, y, x, 3) in µm at the nodes of any grid; from a cell beyond the faces on it is constant."""
        points = self.points
        places = []
        for d in range(3):
            at = (grid.origin[d] - points.origin[d] + np.arange(grid.shape[d]) * grid.spacing[d]) / points.spacing[d]
            places.append(np.clip(at, 1.0, points.shape[d] - 2 - 1e-6))
        out = np.empty((*grid.shape, 3), np.float32)
        crew.run(kernels.sample_spline, grid.shape[0], c, *places, out)
        return out

    def refit(self, c: F32, coarse: Lattice, crew: Crew) -> F32:
        """Control values of this lattice for the spline `c` of another."""
        values = np.ascontiguousarray(np.moveaxis(coarse.sample(c, self.points, crew), -1, 0))
        fitted = values.copy()
        for _ in range(4):  # the error shrinks to a third each time, and less where the spline is smooth
            fitted += values - _at_points(fitted)
        return fitted


def _at_points(c: F32) -> F32:
    """The spline's values at its control points; beyond the faces it goes on linearly."""
    for axis in (1, 2, 3):
        ends = [(0, 0)] * 4
        ends[axis] = (1, 1)
        padded = np.moveaxis(np.pad(c, ends, mode="reflect", reflect_type="odd"), axis, 0)
        c = np.moveaxis((padded[:-2] + 4 * padded[1:-1] + padded[2:]) * np.float32(1 / 6), 0, axis)
    return c


def spread(force: F32) -> F32:
    """Forces on cells as forces on control points: by each one's weight in the middle of the cell."""
    out: F32 = np.pad(force, ((0, 0), *[(MARGIN, MARGIN)] * 3))
    for axis in (1, 2, 3):
        lines = np.moveaxis(out, axis, 0)
        sums = lines * np.float32(4 / 6)
        sums[:-1] += lines[1:] * np.float32(1 / 6)
        sums[1:] += lines[:-1] * np.float32(1 / 6)
        out = np.moveaxis(sums, 0, axis)
    return np.ascontiguousarray(out)


def _bands(length: int) -> tuple[F32, F32]:
    """The rows of D₂ᵀD₂ (length, 5) and D₁ᵀD₁ (length, 3): second and first differences that end at the faces."""
    bands = []
    for order in (2, 1):
        difference = np.diff(np.eye(length), order, axis=0)
        square = np.pad(difference.T @ difference, ((0, 0), (order, order)))
        bands.append(np.stack([square[i, i : i + 2 * order + 1] for i in range(length)]).astype(np.float32))
    return bands[0], bands[1]


def _diagonal(scale: F64, bands: Sequence[tuple[F32, F32]]) -> F32:
    """The diagonal of the bending matrix at each control point."""
    second, first = (
        [b[kind][:, 2 - kind].reshape([-1 if e == d else 1 for e in range(3)]) for d, b in enumerate(bands)]
        for kind in (0, 1)
    )
    total = sum(scale[d] ** 2 * second[d] for d in range(3))
    total = total + sum(2 * scale[d] * scale[e] * first[d] * first[e] for d, e in ((0, 1), (0, 2), (1, 2)))
    return np.asarray(total, dtype=np.float32)


def solve(force: F32, stiffness: F32, c: F32, *, scale: F64, iterations: int, crew: Crew) -> F32:
    """The step δ (3, lattice) that minimises δᵀHδ/2 − bᵀδ + bending(c + δ)/2, by conjugate gradients.

    H is the cells' `stiffness` (6, cells), lumped at the control points; b the `force` on these (see `spread`);
    `scale` (3) is s of the bending energy, with its weight.
    """
    shape = c.shape[1:]
    bands = [_bands(n) for n in shape]
    matrix = (scale, *bands[0], *bands[1], *bands[2])
    p, q, r, s, delta = (np.zeros((3, *[n + 2 * PAD for n in shape]), np.float32) for _ in range(5))
    partial = np.zeros(shape[0])
    inner = (slice(None), *[slice(PAD, -PAD)] * 3)
    p[inner] = c
    crew.run(kernels.multiply, shape[0], p, *matrix, np.zeros_like(stiffness), q, partial)
    r[inner] = force - q[inner]
    inverse = np.empty((6, *shape), np.float32)
    crew.run(kernels.invert_blocks, shape[0], stiffness, _diagonal(scale, bands), inverse)
    p[:] = 0
    crew.run(kernels.descend, shape[0], 0.0, p, q, inverse, delta, r, s, partial)
    descent = target = float(partial.sum())
    p[:] = s
    for _ in range(iterations):
        if descent <= _ENOUGH**2 * target:
            break
        crew.run(kernels.multiply, shape[0], p, *matrix, stiffness, q, partial)
        alpha = descent / float(partial.sum())
        crew.run(kernels.descend, shape[0], alpha, p, q, inverse, delta, r, s, partial)
        before, descent = descent, float(partial.sum())
        crew.run(kernels.turn, shape[0], s, descent / before, p)
    return np.ascontiguousarray(delta[inner])


def bending(c: F32, spacing: Sequence[float]) -> float:
    """Σ_de ‖D_d D_e c‖²/(h_d h_e)²: the squared second derivatives of a displacement, over all control points."""
    total = 0.0
    for d, e in itertools.product(range(3), repeat=2):
        differences = np.diff(np.diff(c, axis=1 + d), axis=1 + e)
        total += float(np.square(differences, out=differences).sum(dtype=np.float64)) / (spacing[d] * spacing[e]) ** 2
    return total


def determined(stiffness: F32, shape: Triple, *, scale: F64, iterations: int, crew: Crew) -> float:
    """How many of the control values the data determine, tr((H + L)⁻¹H), from one vector of random signs.

    H and L are those of `solve`; `shape` is that of the control points. The signs are always the same ones.

    Hutchinson: A stochastic estimator of the trace of the influence matrix, 1990.
    """
    signs = np.random.default_rng(0).integers(0, 2, (3, *stiffness.shape[1:]), dtype=np.int8) * np.float32(2) - 1
    margins = ((0, 0), *[(MARGIN, MARGIN)] * 3)
    turned = np.zeros_like(signs)
    for d, e in itertools.product(range(3), repeat=2):
        turned[d] += stiffness[_ENTRY[d][e]] * signs[e]
    zeros = np.zeros((3, *shape), np.float32)
    found = solve(np.pad(turned, margins), stiffness, zeros, scale=scale, iterations=iterations, crew=crew)
    return float(np.multiply(found, np.pad(signs, margins)).sum(dtype=np.float64))


def jacobians(field: F32, grid: Grid, crew: Crew) -> F32:
    """The least Jacobian determinant of x + u(x) in each cell between the nodes of a field, at its corners."""
    z, y, x = (max(n - 1, 1) for n in grid.shape)
    widths = [(0, 1 if n == 1 else 0) for n in grid.shape]
    out = np.empty((z, y, x), np.float32)
    padded = np.pad(field, (*widths, (0, 0)), mode="edge")
    crew.run(kernels.cell_jacobians, z, padded, np.array(grid.spacing), out)
    return out


def unfold(lattice: Lattice, c: F32, nodes: Grid, *, least: float, crew: Crew) -> tuple[F32, F32, float]:
    """The control values, smoothed where the determinant on `nodes` falls below `least` until it no longer does.

    Returns them, the field on the nodes, and its least determinant. Where smoothing does not help, all of it shrinks.
    """
    reach = 1
    for attempt in range(40):
        field = lattice.sample(c, nodes, crew)
        determinants = jacobians(field, nodes, crew)
        lowest = float(determinants.min())
        if lowest >= least:
            return c, field, lowest
        c = _ease(c, _folded(lattice, nodes, determinants < least, reach)) if attempt < 30 else c * np.float32(0.7)
        reach = 1 + attempt // 5
    zero = lattice.zeros()
    return zero, lattice.sample(zero, nodes, crew), 1.0


def _folded(lattice: Lattice, nodes: Grid, bad: np.ndarray[Any, np.dtype[np.bool_]], reach: int) -> F32:
    """1 at the control points within `reach` of a bad cell of the nodes, 0 elsewhere."""
    middles = nodes.to_physical(np.argwhere(bad) + 0.5)
    points = lattice.points
    index = np.clip(np.rint(points.to_index(middles)).astype(int), 0, np.array(points.shape) - 1)
    marked = np.zeros(points.shape, np.float32)
    marked[tuple(index.T)] = 1
    for axis in range(3):
        lines = np.moveaxis(marked, axis, 0)
        source = lines.copy()
        for shift in range(1, reach + 1):
            lines[shift:] = np.maximum(lines[shift:], source[:-shift])
            lines[:-shift] = np.maximum(lines[:-shift], source[shift:])
    return marked


def _ease(c: F32, where: F32) -> F32:
    """The control values, blurred by (1, 4, 1)/6 twice where `where` is 1."""
    return np.ascontiguousarray(c + where * (_at_points(_at_points(c)) - c))
