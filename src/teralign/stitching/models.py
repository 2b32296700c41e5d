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

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import splu
from scipy.spatial.transform import Rotation

from teralign.grids import Bools, Floats
from teralign.stitching.solve import FALL, REMOVED, SCALE
from teralign.stitching.stage_errors import TileNumbers

_FIRST = 3e-3  # deviation of matrices from 1 before it is learnt
_DEVIATIONS: tuple[float, ...] = tuple(float(10.0 ** (k / 4)) for k in range(-20, -6))  # 1e-5 … 0.018
_LEAST_PLANES = 8  # with fewer, what depends on z is left as it is
_FIXED = 1e14  # precision of a number that is left as it is
_ROUNDS = 4


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
    deviations = [_FIRST] * problems.parts
    rho = np.ones(len(edges.tiles))
    lengths = problems.step(rho, deviations)
    scale = max(SCALE, float(lengths.max(initial=0)))
    while True:
        lengths = problems.step((scale**2 / (scale**2 + lengths**2)) ** 2, deviations)
        if scale <= SCALE:
            break
        scale = max(SCALE, scale / FALL)
    used: Bools = (scale**2 / (scale**2 + lengths**2)) ** 2 > REMOVED
    for _ in range(_ROUNDS):
        rho = np.where(used, 1 / (1 + (lengths / SCALE) ** 2), 0)
        deviations = problems.likeliest(rho)
        lengths = problems.step(rho, deviations)
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

    def step(self, rho: Floats, deviations: list[float]) -> Floats:
        """Solve with the weights `rho` (k,) of pieces; return the lengths of the residuals."""
        raise NotImplementedError

    def likeliest(self, rho: Floats) -> list[float]:
        """Return the deviations of the numbers of matrices under which the shifts are most likely."""
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

    def step(self, rho: Floats, deviations: list[float]) -> Floats:
        for axis in range(3):
            x = self._system(axis, rho).solve(deviations[axis]).reshape(-1, 4)
            self.displacements[:, axis] = x[:, 0]
            self.matrices[:, axis] = np.eye(3)[axis] + x[:, 1:]
        return self.lengths()

    def likeliest(self, rho: Floats) -> list[float]:
        return [self._system(axis, rho).likeliest() for axis in range(3)]


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

    def step(self, rho: Floats, deviations: list[float]) -> Floats:
        x: Floats = self._system(rho).solve(deviations[0]).reshape(-1, 6)
        self.displacements = x[:, :3]
        self.matrices = Rotation.from_rotvec(x[:, 3:]).as_matrix() @ self.matrices
        return self.lengths()

    def likeliest(self, rho: Floats) -> list[float]:
        return [self._system(rho).likeliest()]


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

    def solve(self, deviation: float) -> Floats:
        """Return the numbers for a deviation of those that are not fixed."""
        normal, push = self._normal()
        return self._solution(normal, push, self._precision(deviation))[0]

    def likeliest(self) -> float:
        """Return the deviation under which `right` is most likely, the scale of its errors being free."""
        normal, push = self._normal()
        count = float(self.rho[self.weights > 0].sum())
        if count < 1:
            return _DEVIATIONS[0]
        costs = []
        for deviation in _DEVIATIONS:
            precision = self._precision(deviation)
            x, spent = self._solution(normal, push, precision)
            misfit = float(self.weights @ (self.design @ x - self.right) ** 2 + precision @ (x - self.prior) ** 2)
            costs.append(count * np.log(misfit) + spent - float(np.log(precision).sum()))
        return _DEVIATIONS[int(np.argmin(costs))]

    def _precision(self, deviation: float) -> Floats:
        return np.where(self.fixed > 0, self.fixed, 1 / deviation**2)

    def _normal(self) -> tuple[sparse.csc_matrix, Floats]:
        weighed = self.design.T @ sparse.diags(self.weights)
        push: Floats = weighed @ self.right
        return (weighed @ self.design).tocsc(), push

    def _solution(self, normal: sparse.csc_matrix, push: Floats, precision: Floats) -> tuple[Floats, float]:
        """Return the numbers, and the logarithm of the determinant of their precision."""
        factors = splu(
            normal + sparse.diags(precision).tocsc(), permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True}
        )
        numbers: Floats = factors.solve(push + precision * self.prior)
        return numbers, float(np.log(np.abs(factors.U.diagonal())).sum())
