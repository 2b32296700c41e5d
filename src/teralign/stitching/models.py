"""A rigid or an affine map of each tile, from the shifts of pieces of the overlaps.

A point p of a tile, from its middle, lies at c + d + M p, with c where the stage has its middle. A piece of an
overlap that is p in tile i and q in tile j, and whose shift is s, asks that

    d_j + (M_j − 1) q − d_i − (M_i − 1) p = s.

With d and M − 1 small and independent, this is least squares with two priors: d is what the stage's errors have in
common, with their spread, and the numbers of M − 1 (or the angles of a rotation) are 0 with a deviation that is
learnt: the one under which the shifts are most likely, with the scale of their errors (D. J. C. MacKay, Bayesian
interpolation, Neural Computation 4, 1992). So where tiles are only shifted, matrices stay as near to 1 as the errors
of the pieces tell. What all tiles of a component have in common no overlap tells: the mean of their matrices is 1.
Weights of pieces are those of Geman and McClure, as in `solve`. Rotations are exact, and linearised at each step.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from scipy import sparse
from scipy.spatial.transform import Rotation

from teralign.grids import Bools, Floats
from teralign.stitching.solve import FALL, REMOVED, SCALE, factorised
from teralign.stitching.stage_errors import TileNumbers

_FIRST = 3e-3  # deviation of matrices from 1 before it is learnt
_FINEST = 10.0 ** (1 / 4)  # of two deviations that are compared
_NO_MISFIT = 1e-12  # weighted squares: what remains of the arithmetic where all pieces fit exactly
_SMALLEST, _LARGEST = 1e-5, 2e-2
_LEAST_PLANES = 8  # with fewer, what depends on z is left as it is
_FIXED = 1e14  # precision of a number that is left as it is
_STRIDES = (4, 1, 0, 0)  # of the search for the deviations, in steps of _FINEST, one for each round of weights


class TileModel(StrEnum):
    """The maps that a tile may have."""

    TRANSLATION = "translation"
    RIGID = "rigid"
    AFFINE = "affine"


@dataclass(frozen=True)
class PieceEdges:
    """Matched places of two tiles each.

    `tiles` (k, 2) are their numbers, `places` (k, 2, 3) µm the place from the middle of either, `shifts` (k, 3) µm
    what is added to moving − fixed there, `errors` (k, 3) µm, infinite along an axis that is not measured.
    """

    tiles: TileNumbers
    places: Floats
    shifts: Floats
    errors: Floats


@dataclass(frozen=True)
class StageOfTiles:
    """Prior knowledge: the middles (n, 3) µm, the stage's errors as learnt (n, 3) µm, their spread (3,) µm.

    `planes` (n,) are the voxels along z, and `voxel` (3,) the size of a voxel in µm.
    """

    middles: Floats
    predicted: Floats
    spread: Floats
    planes: TileNumbers
    voxel: Floats


@dataclass(frozen=True)
class FittedModels:
    """Displacements (n, 3) µm of the tiles' middles, matrices (n, 3, 3), pieces used (k,), residuals (k, 3) µm."""

    displacements: Floats
    matrices: Floats
    used: Bools
    residuals: Floats


def fit_models(edges: PieceEdges, stage: StageOfTiles, model: TileModel) -> FittedModels:
    """Return the maps of all tiles that agree best with the pieces; tiles without pieces stay as they are."""
    problems = _Rigid(edges, stage) if model is TileModel.RIGID else _Affine(edges, stage)
    lengths = problems.step(np.ones(len(edges.tiles)))
    scale = max(SCALE, float(lengths.max(initial=0)))
    while True:
        lengths = problems.step((scale**2 / (scale**2 + lengths**2)) ** 2)
        if scale <= SCALE:
            break
        scale = max(SCALE, scale / FALL)
    used: Bools = (scale**2 / (scale**2 + lengths**2)) ** 2 > REMOVED
    for stride in _STRIDES:
        lengths = problems.step(np.where(used, 1 / (1 + (lengths / SCALE) ** 2), 0), stride)
    return FittedModels(problems.displacements, problems.matrices, used, problems.residuals())


def with_mean_of_one(
    fitted: FittedModels, middles: Floats, components: TileNumbers, model: TileModel
) -> tuple[Floats, Floats]:
    """Return displacements (n, 3) and matrices (n, 3, 3) whose mean is 1 in each of the `components` (n,).

    Tiles that are alone keep theirs.
    """
    displacements, matrices = fitted.displacements.copy(), fitted.matrices.copy()
    for number, size in enumerate(np.bincount(components)):
        if size < 2:
            continue
        own = np.flatnonzero(components == number)
        if model is TileModel.RIGID:
            mean = Rotation.from_matrix(matrices[own]).mean().as_matrix()
        else:
            mean = matrices[own].mean(axis=0)
        back = np.linalg.inv(mean)
        centres = middles[own] + displacements[own]
        centre = centres.mean(axis=0)
        displacements[own] = centre + (centres - centre) @ back.T - middles[own]
        matrices[own] = back @ matrices[own]
    return displacements, matrices


class _Problem:
    """Least squares for the numbers of all tiles: three of the position and the others of the matrix."""

    parts: int

    def __init__(self, edges: PieceEdges, stage: StageOfTiles) -> None:
        self.edges, self.stage = edges, stage
        count = len(stage.middles)
        self.displacements = stage.predicted.copy()
        self.matrices: Floats = np.tile(np.eye(3), (count, 1, 1))
        weights = 1.0 / np.maximum(edges.errors, 1e-3 * stage.voxel) ** 2
        self.weights: Floats = np.where(np.isfinite(weights), weights, 0)
        self.deviations = [_FIRST] * self.parts  # of the numbers of matrices
        spread = np.maximum(stage.spread, stage.voxel)
        self.pull: Floats = 1 / spread**2  # (3,)

    def residuals(self) -> Floats:
        """Return the residuals (k, 3) µm."""
        i, j = self.edges.tiles.T
        moved = self.matrices - np.eye(3)
        p, q = self.edges.places[:, 0], self.edges.places[:, 1]
        there: Floats = self.displacements[j] + np.einsum("kab,kb->ka", moved[j], q)
        here: Floats = self.displacements[i] + np.einsum("kab,kb->ka", moved[i], p)
        return there - here - self.edges.shifts

    def lengths(self) -> Floats:
        """Return the lengths (k,) of the residuals in voxels, over the axes that are measured."""
        found: Floats = np.linalg.norm(np.where(self.weights > 0, self.residuals() / self.stage.voxel, 0), axis=1)
        return found

    def step(self, rho: Floats, stride: int = 0) -> Floats:
        """Solve with the weights `rho` (k,) of pieces; return the lengths of the residuals.

        With a `stride` the deviations are learnt (`_LeastSquares.likeliest`); without they are those learnt before.
        """
        raise NotImplementedError


class _Affine(_Problem):
    """Each axis on its own: a displacement and a row of the matrix."""

    parts = 3

    def _system(self, axis: int, rho: Floats) -> _LeastSquares:
        count, pieces = len(self.stage.middles), len(self.edges.tiles)
        i, j = self.edges.tiles.T
        p, q = self.edges.places[:, 0], self.edges.places[:, 1]
        values = np.column_stack([-np.ones(pieces), -p, np.ones(pieces), q])
        columns = np.column_stack([4 * i[:, None] + np.arange(4), 4 * j[:, None] + np.arange(4)])
        rows = np.repeat(np.arange(pieces), 8)
        design = sparse.csr_matrix((values.ravel(), (rows, columns.ravel())), shape=(pieces, 4 * count))
        prior = np.zeros((count, 4))
        prior[:, 0] = self.stage.predicted[:, axis]
        fixed = np.zeros((count, 4))
        fixed[:, 0] = self.pull[axis]
        fixed[self.stage.planes < _LEAST_PLANES, 1] = _FIXED
        return _LeastSquares(
            design, self.edges.shifts[:, axis], self.weights[:, axis] * rho, rho, prior.ravel(), fixed.ravel()
        )

    def step(self, rho: Floats, stride: int = 0) -> Floats:
        for axis in range(3):
            x, self.deviations[axis] = self._system(axis, rho).likeliest(self.deviations[axis], stride)
            self.displacements[:, axis], rows = x.reshape(-1, 4)[:, 0], x.reshape(-1, 4)[:, 1:]
            self.matrices[:, axis] = np.eye(3)[axis] + rows
        return self.lengths()


class _Rigid(_Problem):
    """A displacement and a rotation, about its present value."""

    parts = 1

    def _system(self, rho: Floats) -> _LeastSquares:
        count, pieces = len(self.stage.middles), len(self.edges.tiles)
        rows, columns, values = [], [], []
        for side, sign in ((0, -1.0), (1, 1.0)):
            tile = self.edges.tiles[:, side]
            seen = np.einsum("kab,kb->ka", self.matrices[tile], self.edges.places[:, side])
            z, y, x = seen.T
            zero = np.zeros(pieces)
            cross = np.array([[zero, x, -y], [-x, zero, z], [y, -z, zero]]).transpose(2, 0, 1)  # ω × R p
            for axis in range(3):
                place = 3 * np.arange(pieces) + axis
                rows += [place, *[place] * 3]
                columns += [6 * tile + axis, *(6 * tile + 3 + k for k in range(3))]
                values += [np.full(pieces, sign), *(sign * cross[:, axis, k] for k in range(3))]
        entries = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
        design = sparse.csr_matrix(entries, shape=(3 * pieces, 6 * count))
        known = np.concatenate([self.displacements, np.zeros((count, 3))], axis=1).ravel()
        right = design @ known - self.residuals().ravel()
        turned = Rotation.from_matrix(self.matrices).as_rotvec()
        prior = np.concatenate([self.stage.predicted, -turned], axis=1)
        fixed = np.zeros((count, 6))
        fixed[:, :3] = self.pull
        fixed[self.stage.planes < _LEAST_PLANES, 4:] = _FIXED
        weights = (self.weights * rho[:, None]).ravel()
        return _LeastSquares(design, right, weights, np.repeat(rho, 3), prior.ravel(), fixed.ravel())

    def step(self, rho: Floats, stride: int = 0) -> Floats:
        x, self.deviations[0] = self._system(rho).likeliest(self.deviations[0], stride)
        self.displacements, turns = x.reshape(-1, 6)[:, :3], x.reshape(-1, 6)[:, 3:]
        self.matrices = Rotation.from_rotvec(turns).as_matrix() @ self.matrices
        return self.lengths()


@dataclass(frozen=True)
class _LeastSquares:
    """Weighted least squares of `design` x = `right` with a prior at `prior`.

    `fixed` are the precisions of the prior, 0 for the numbers whose deviation is to be learnt.
    """

    design: sparse.csr_matrix
    right: Floats
    weights: Floats
    rho: Floats
    prior: Floats
    fixed: Floats

    def likeliest(self, deviation: float, stride: int) -> tuple[Floats, float]:
        """Return the numbers for the deviation under which `right` is most likely, and that deviation.

        The scale of the errors is free. The search begins at `deviation` and goes downhill by `stride` steps of
        _FINEST, then by fewer; without a stride `deviation` is kept.
        """
        normal, push = self._normal()
        count = float(self.rho[self.weights > 0].sum())

        @functools.cache
        def tried(step: int) -> tuple[float, Floats]:
            precision = self._precision(deviation * _FINEST**step)
            x, spent = self._solution(normal, push, precision)
            misfit = float(self.weights @ (self.design @ x - self.right) ** 2 + precision @ (x - self.prior) ** 2)
            return count * math.log(max(misfit, _NO_MISFIT)) + spent - float(np.log(precision).sum()), x

        best = 0
        while stride:
            around = [n for n in (best - stride, best + stride) if _SMALLEST <= deviation * _FINEST**n <= _LARGEST]
            lower = min(around, key=lambda n: tried(n)[0], default=best)
            if tried(lower)[0] < tried(best)[0]:
                best = lower
            else:
                stride //= 2
        return tried(best)[1], deviation * _FINEST**best

    def _precision(self, deviation: float) -> Floats:
        return np.where(self.fixed > 0, self.fixed, 1 / deviation**2)

    def _normal(self) -> tuple[sparse.csc_matrix, Floats]:
        weighed = self.design.T @ sparse.diags(self.weights)
        push: Floats = weighed @ self.right
        return (weighed @ self.design).tocsc(), push

    def _solution(self, normal: sparse.csc_matrix, push: Floats, precision: Floats) -> tuple[Floats, float]:
        """Return the numbers, and the logarithm of the determinant of their precision."""
        factors = factorised(normal + sparse.diags(precision).tocsc())
        numbers: Floats = factors.solve(push + precision * self.prior)
        return numbers, float(np.log(np.abs(factors.U.diagonal())).sum())
