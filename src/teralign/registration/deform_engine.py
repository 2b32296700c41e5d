"""The deformable engine: a smooth displacement between two images, by local correlation and Gauss–Newton steps.

The unknown is u, a cubic B-spline displacement in µm of the fixed image's points: x_moving = initial(x + u(x)). It
minimises

    E(u) = Σ_cells w · Σ_{x in cell} |β(f(x) − f̄) − (m(initial(x + u(x))) − m̄)|²/σ_m² + bending(u)

where the means f̄ and m̄, the deviations σ and the slope β of m on f are those in a box window around the cell: local
normalised cross-correlation (Avants 2008), written as a sum of squares whose residual leaves out what brightness and
contrast explain. It is m that is regressed on f, not f on m: then noise in the residual has nothing to do with the
gradient of f, and nothing drifts where a face cuts a window. Noise must not count as structure: the variances of the
emptiest windows are added to all. Sums over windows are running sums (Lewis 1995), here over cells instead of voxels,
so a window costs the same at any size.

Each Gauss–Newton step solves

    (H + λL) δ = b − λL c,    H = Σ w g gᵀ/σ_f²,   b = Σ w (β(f − f̄) − (m − m̄)) g/(σ_m σ_f)

for the control values, L being the bending energy's matrix (see `deform_lattice`). As in demons (Vercauteren 2009) g
is the gradient of the fixed image, which at the solution is that of the warped one: it needs no gradient of an
interpolated image. A step needs one pass over the voxels and converges in a few steps, where gradient descent on a
dense field (ANTs; greedy, Yushkevich 2016) needs a hundred passes. All solves work on cells: 64 times fewer than
voxels.

λ is not known beforehand: how finely tissue bends differs. On the finest level ℓ, the length that stands for it,
moves to where the deformation found and the misfit left are most likely together (MacKay 1992),

    ℓ⁴ = (1 − r²) · γ / (k · B),    γ = tr((H + λL)⁻¹ H),    B = Σ_de |∂_d ∂_e u|²,

with γ the number of control values that the data determine and k the mean of H. Where that is much finer than usual,
the level goes on with finer control points.

Mutual information has forces of its own (see `deform_information`).

Levels go from coarse to fine: means over groups of voxels, per axis, so that voxels of any shape become cubes; each
level starts from the spline of the one before. The result is kept only if the metric on the
finest level is better than with u = 0 on the same cells, and it is eased wherever det(1 + ∇u) would fall below a
bound, so it does not fold.

Lengths are µm, arrays (z, y, x), vectors (z, y, x).

Avants, Epstein, Grossman, Gee: Symmetric diffeomorphic image registration with cross-correlation, 2008.
Lewis: Fast normalized cross-correlation, 1995.
MacKay: Bayesian interpolation, 1992.
Rueckert et al.: Nonrigid registration using free-form deformations, 1999.
Vercauteren, Pennec, Perchant, Ayache: Diffeomorphic demons, 2009.
Yushkevich et al.: Fast automatic segmentation of hippocampal subfields … (greedy), 2016.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, replace

import numpy as np

from teralign.grids import Floats, Grid
from teralign.registration.config import DeformConfig
from teralign.registration.deform_images import ClippedImage
from teralign.registration.deform_kernels import F32
from teralign.registration.deform_lattice import Lattice, remove_folds
from teralign.registration.deform_problem import LevelProblem
from teralign.registration.image import Image
from teralign.transforms.threads import ThreadPool

log = logging.getLogger(__name__)

_MIN_LEVEL_AXIS = 8  # voxels that a coarse level needs along each axis: two control points
_SIGNED = ("lncc", "ncc")  # metrics that tell an image from its negative
_SHORTEST = 0.25  # of a step, before a level gives up
_ADAPT_AFTER = (2, 4)  # steps of the finest level: the smoothness is known once most of the deformation is found
_FINER_STEPS = 4  # on the finer control points; three lose 0.0005 of local correlation on a real pair


@dataclass(frozen=True)
class DeformResult:
    """A displacement `field` (z, y, x, 3) float32 in µm at the nodes of `grid`: x_moving = initial(x + u(x)).

    Higher metrics are better. A `reason` explains a field of zeros; `min_jacobian` is the smallest determinant at the
    nodes, `iterations` are the steps taken at each level, coarsest first. `voxel_error` is how far the residual
    misplaces a single voxel, in µm: σ_residual / |∇f| by local correlation, else NaN.
    """

    field: F32
    grid: Grid
    metric_before: float
    metric_after: float
    min_jacobian: float
    iterations: tuple[int, ...]
    reason: str = ""
    voxel_error: float = math.nan


def find_deformation(
    fixed: Image,
    moving: Image,
    config: DeformConfig,
    *,
    initial: Floats,
    field_grid: Grid | None = None,
    even_if_worse: bool = False,
    threads: int = 1,
) -> DeformResult:
    """Find the displacement after which `initial`, a (4, 4) matrix of fixed to moving points in µm, fits better.

    Images are finite, of any real dtype. The field is given on `field_grid`'s nodes, by default every second voxel of
    the fixed image. It is zero, with a reason, where an image is empty or no better field is found, unless it is
    wanted `even_if_worse`. The number of threads does not change the result.
    """
    nodes = field_grid or fixed.grid.nodes((2, 2, 2))
    images = ClippedImage.of(fixed), ClippedImage.of(moving)
    for name, image in zip(("fixed", "moving"), images, strict=True):
        if not image.deviation > 0:
            return _unmoved(nodes, f"the {name} image has no structure here")
    with ThreadPool(threads) as pool:
        return _FieldSearch(*images, config, np.asarray(initial, dtype=np.float64), pool, even_if_worse).run(nodes)


def _unmoved(nodes: Grid, reason: str, metric: float = math.nan, iterations: tuple[int, ...] = ()) -> DeformResult:
    return DeformResult(np.zeros((*nodes.shape, 3), np.float32), nodes, metric, metric, 1.0, iterations, reason)


@dataclass(frozen=True)
class _FieldSearch:
    """The images and parameters of one search, coarse to fine."""

    fixed: ClippedImage
    moving: ClippedImage
    config: DeformConfig
    initial: Floats
    pool: ThreadPool
    even_if_worse: bool

    def run(self, nodes: Grid) -> DeformResult:
        """Search level by level, as the module describes."""
        config, pool = self.config, self.pool
        c: F32 | None = None
        lattice: Lattice | None = None
        taken: list[int] = []
        sign = 1
        for shrink, iterations in self._levels():
            problem = self._problem(shrink, sign)
            if c is None or lattice is None:
                c = problem.lattice.zeros()
                unmoved = problem.measure(c)
                if unmoved.overlap == 0:
                    return _unmoved(nodes, "the moving image does not reach here")
                if config.objective in _SIGNED and unmoved.score < 0:
                    negative = self._problem(shrink, -1)
                    sign = _sign(problem, negative, iterations)
                    problem = problem if sign > 0 else negative
            else:
                c = problem.lattice.refit(c, lattice, pool)
            lattice = problem.lattice
            adapting = problem.adaptive and shrink == config.levels[-1][0]
            c, steps = _descend(problem, c, iterations, adapting=adapting)
            taken.append(steps)
        assert c is not None
        assert lattice is not None
        if problem.rough:
            problem = problem.finer()
            c, lattice = problem.lattice.refit(c, lattice, pool), problem.lattice
            c, steps = _descend(problem, c, _FINER_STEPS)
            taken[-1] += steps
        before = problem.measure(lattice.zeros())
        c, field, smallest = remove_folds(lattice, c, nodes, min_jacobian=config.min_jacobian, pool=pool)
        after = problem.measure(c)
        score_before, score_after = before.compare(after)
        better = score_after > score_before
        blur = problem.voxel_error(after if better else before) if config.objective == "lncc" else math.nan
        if not better and not self.even_if_worse:
            reason = "no deformation was better than the start"
            return replace(_unmoved(nodes, reason, score_before, tuple(taken)), voxel_error=blur)
        return DeformResult(field, nodes, score_before, score_after, smallest, tuple(taken), voxel_error=blur)

    def _problem(self, shrink: int, sign: int) -> LevelProblem:
        """Return the problem at one level; with `sign` −1, dark and bright of the moving image are exchanged."""
        fixed, moving = self.fixed, self.moving
        low, scale = moving.low, sign / moving.deviation
        if self.config.objective == "mse":
            low, scale = fixed.low, 1 / fixed.deviation
        return LevelProblem(
            fixed.level(shrink, fixed.low, 1 / fixed.deviation, self.pool),
            moving.level(shrink, low, scale, self.pool),
            self.initial,
            shrink,
            self.config,
            self.pool,
        )

    def _levels(self) -> list[tuple[int, int]]:
        """Return the shrink factors that leave enough voxels, each with its iterations; always the last."""
        grid, (*coarse, finest) = self.fixed.grid, self.config.levels
        useful = [
            (shrink, iterations)
            for shrink, iterations in coarse
            if min(grid.downsample(grid.factors_to(shrink * min(grid.spacing))).shape) >= _MIN_LEVEL_AXIS
        ]
        return [*useful, finest]


def _sign(problem: LevelProblem, negative: LevelProblem, iterations: int) -> int:
    """Return 1, or −1 if the negative of the moving image correlates better, once each has been deformed."""
    scores = [p.measure(_descend(p, p.lattice.zeros(), iterations)[0]).score for p in (problem, negative)]
    if scores[1] > scores[0]:
        log.info("bright in one image is dark in the other: aligned to the negative")
        return -1
    return 1


def _descend(problem: LevelProblem, c: F32, iterations: int, *, adapting: bool = False) -> tuple[F32, int]:
    """Return the control values that at most `iterations` steps find, and the number of steps tried.

    A step that worsens the metric is tried again at half its length, and at a quarter. When `adapting`, the
    smoothness is chosen anew after some steps; the first step after that is taken in any case.
    """
    match, length = problem.measure(c), 1.0
    step = problem.step(c, match)
    pending, adapted = list(_ADAPT_AFTER) if adapting else [], False
    for tried in range(1, iterations + 1):
        candidate = c + np.float32(length) * step
        found = problem.measure(candidate)
        gain = found.score - match.score
        log.debug("shrink %d, step %d of length %g: %.5f", problem.shrink, tried, length, found.score)
        better = gain > 0 or adapted
        if better:
            c, match, length = candidate, found, min(1.0, 2 * length)
        else:
            length /= 2
        done = length < _SHORTEST or (not adapted and 0 < gain <= problem.tolerance)
        adapted = bool(pending) and (done or tried >= pending[0])
        if adapted:
            pending.pop(0)
            problem.adapt(c, match)
            step, length = problem.step(c, match), 1.0
        elif done:
            return c, tried
        elif better and tried < iterations:
            step = problem.step(c, match)
    return c, iterations
