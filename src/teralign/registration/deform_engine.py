"""The deformable engine: a smooth displacement between two images, by local correlation and Gauss–Newton steps.

The unknown is u, a cubic B-spline displacement in µm of the fixed image's points: x_moving = start(x + u(x)). It
minimises

    E(u) = Σ_cells w · Σ_{x in cell} |β(f(x) − f̄) − (m(start(x + u(x))) − m̄)|²/σ_m² + bending(u)

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
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from teralign.grids import Floats, Grid
from teralign.registration import kernels
from teralign.registration.deform_information import BINS, information_tables
from teralign.registration.deform_lattice import Crew, Lattice, bending, determined, solve, spread, unfold
from teralign.registration.kernels import F32, F64, U8

log = logging.getLogger(__name__)

Mask = NDArray[np.bool_]

_NO_MASK = np.empty((0, 0, 0), np.uint8)
_DIMMEST, _BRIGHTEST = 1.0, 99.95  # percentiles that intensities are clipped to
_QUIET = 0.3  # percentile of the windows' variances that counts as noise
_LEAST_AXIS = 8  # voxels; a level with less along an axis that can still be halved is left out
_SIGNED = ("lncc", "ncc")  # metrics that tell an image from its negative
_SPACING, _WINDOW, _SMOOTHNESS = 4, 12, 2  # voxels, where nothing else is given
_SMOOTHER = 1.5  # times as much where no windows take out what uneven light does
_DAMPING = 0.1  # of the data term's diagonal, added to it: texture that runs one way holds in that way only
_SOLVER_STEPS = 12
_SHORTEST = 0.25  # of a step, before a level gives up
_ADAPT_AFTER = (2, 4)  # steps of the finest level
_EAGER, _MOST_EAGER = 2.0, 4.0  # exponents of a change of smoothness: taken as it is, it creeps to where it stays
_LEAST_SMOOTH, _MOST_SMOOTH = 0.4, 1.5  # of the smoothness that is taken to begin with
_ROUGH = 0.75  # of it; below, the finest level goes on with finer control points
_FINER, _WIDER = 3, 1.25  # voxels of their spacing, and times the window: it must still hold enough of them
_FINER_STEPS = 4


@dataclass(frozen=True)
class DeformParameters:
    """How a deformation is sought. Lengths are µm at the finest level; None takes them from the voxels.

    `control_point_spacing` and `window` grow with the shrink factor of a coarser level, `smoothness` a little faster.
    With local correlation as the metric, a smoothness of None goes on to what the images support.
    """

    metric: Literal["lncc", "ncc", "mse", "mi"] = "lncc"
    shrink_factors: tuple[int, ...] = (4, 2, 1)
    iterations: tuple[int, ...] = (15, 10, 6)
    control_point_spacing: float | None = None
    window: float | None = None
    smoothness: float | None = None
    foreground_emphasis: float = 0.25
    max_step: float = 1.0
    min_jacobian: float = 0.1
    tolerance: float = 2e-5


@dataclass(frozen=True)
class DeformResult:
    """A displacement `field` (z, y, x, 3) float32 in µm at the nodes of `grid`: x_moving = start(x + u(x)).

    Higher metrics are better. `reason` says why the field is zero, where it is; `min_jacobian` is the least
    determinant at the corners of the field's cells, `iterations` the steps taken at each level, coarsest first.
    """

    field: F32
    grid: Grid
    metric_before: float
    metric_after: float
    min_jacobian: float
    iterations: tuple[int, ...]
    reason: str = ""


def deform_arrays(
    fixed: NDArray[Any],
    moving: NDArray[Any],
    *,
    fixed_grid: Grid,
    moving_grid: Grid,
    start: Floats,
    fixed_mask: Mask | None = None,
    moving_mask: Mask | None = None,
    field_grid: Grid | None = None,
    parameters: DeformParameters | None = None,
    threads: int = 1,
) -> DeformResult:
    """The displacement after which `start`, a 4×4 matrix of fixed to moving points in µm, fits the images better.

    Images are (z, y, x) of any real dtype and finite; masks, of the same shapes, are True where voxels count. The
    field is given on `field_grid`'s nodes, by default every second voxel of the fixed image. Zero, with a reason,
    when there is nothing to go on or nothing better is found. The number of threads does not change the result.
    """
    parameters = parameters or DeformParameters()
    nodes = field_grid or fixed_grid.coarsen((2, 2, 2))
    images = _Source.of(fixed, fixed_grid, fixed_mask), _Source.of(moving, moving_grid, moving_mask)
    for name, image in zip(("fixed", "moving"), images, strict=True):
        if not image.deviation > 0:
            return _unmoved(nodes, f"the {name} image has no structure here")
    with Crew(threads) as crew:
        return _search(*images, np.asarray(start, dtype=np.float64), nodes, parameters, crew)


def _unmoved(nodes: Grid, reason: str, metric: float = math.nan, iterations: tuple[int, ...] = ()) -> DeformResult:
    return DeformResult(np.zeros((*nodes.shape, 3), np.float32), nodes, metric, metric, 1.0, iterations, reason)


@dataclass(frozen=True)
class _Source:
    """One image as it was given, and the intensities between which it varies."""

    array: NDArray[Any]
    grid: Grid
    mask: Mask | None
    low: float
    high: float
    deviation: float

    @classmethod
    def of(cls, array: NDArray[Any], grid: Grid, mask: Mask | None) -> _Source:
        every = tuple(slice(None, None, max(1, n // 64)) for n in array.shape)
        values = array[every] if mask is None or not mask[every].any() else array[every][mask[every]]
        low, high = (float(v) for v in np.percentile(values, (_DIMMEST, _BRIGHTEST)))
        return cls(array, grid, mask, low, high, float(np.clip(values, low, high).std()))

    def level(self, shrink: int, low: float, scale: float, crew: Crew) -> _Level:
        """The means over groups of voxels that make it `shrink` times coarser, (clipped − low) · scale."""
        factors = _factors(self.grid, shrink)
        grid = self.grid.downsample(factors)
        group = np.minimum(factors, self.array.shape).astype(np.int64)
        image = np.empty(grid.shape, np.float32)
        crew.run(kernels.pool, grid.shape[0], self.array, group, low, max(self.high, low), scale, image)
        if self.mask is None:
            return _Level(image, _NO_MASK, grid)
        share = np.empty(grid.shape, np.float32)
        crew.run(kernels.pool, grid.shape[0], self.mask, group, 0.0, 1.0, 1.0, share)
        return _Level(image, (share >= 0.5).astype(np.uint8), grid)


@dataclass(frozen=True)
class _Level:
    """An image at one level; the mask is 1 where a voxel counts, or empty."""

    image: F32
    mask: U8
    grid: Grid


def _factors(grid: Grid, shrink: int) -> list[int]:
    """The whole factors that bring each axis closest to `shrink` times the finest spacing."""
    finest = min(grid.spacing)
    return [max(1, round(shrink * finest / s)) for s in grid.spacing]


def _search(
    fixed: _Source, moving: _Source, start: Floats, nodes: Grid, parameters: DeformParameters, crew: Crew
) -> DeformResult:
    """Coarse to fine; see the module."""
    c: F32 | None = None
    lattice: Lattice | None = None
    taken: list[int] = []
    sign = 1
    for shrink, most in _levels(fixed.grid, parameters):
        problem = _level(fixed, moving, start, shrink, sign, parameters, crew)
        if c is None or lattice is None:
            c = problem.lattice.zeros()
            begun = problem.measure(c)
            if begun.overlap == 0:
                return _unmoved(nodes, "the moving image does not reach here")
            if parameters.metric in _SIGNED and begun.score < 0:
                negative = _level(fixed, moving, start, shrink, -1, parameters, crew)
                sign = _sign(problem, negative, most)
                problem = problem if sign > 0 else negative
        else:
            c = problem.lattice.refit(c, lattice, crew)
        lattice = problem.lattice
        c, steps = _descend(problem, c, most, adapting=problem.adaptive and shrink == parameters.shrink_factors[-1])
        taken.append(steps)
    assert c is not None
    assert lattice is not None
    if problem.rough:
        problem = problem.finer()
        c, lattice = problem.lattice.refit(c, lattice, crew), problem.lattice
        c, steps = _descend(problem, c, _FINER_STEPS)
        taken[-1] += steps
    before = problem.measure(lattice.zeros())
    c, field, lowest = unfold(lattice, c, nodes, least=parameters.min_jacobian, crew=crew)
    after = problem.measure(c)
    score_before, score_after = before.compare(after)
    if not score_after > score_before:
        return _unmoved(nodes, "no deformation was better than the start", score_before, tuple(taken))
    return DeformResult(field, nodes, score_before, score_after, lowest, tuple(taken))


def _level(
    fixed: _Source, moving: _Source, start: Floats, shrink: int, sign: int, parameters: DeformParameters, crew: Crew
) -> _Problem:
    """The problem at one level; with `sign` −1, dark and bright of the moving image are exchanged."""
    low, scale = moving.low, sign / moving.deviation
    if parameters.metric == "mse":
        low, scale = fixed.low, 1 / fixed.deviation
    return _Problem(
        fixed.level(shrink, fixed.low, 1 / fixed.deviation, crew),
        moving.level(shrink, low, scale, crew),
        start,
        shrink,
        parameters,
        crew,
    )


def _sign(problem: _Problem, negative: _Problem, most: int) -> int:
    """1, or −1 if more correlates with the negative of the moving image, once each has been deformed."""
    scores = [p.measure(_descend(p, p.lattice.zeros(), most)[0]).score for p in (problem, negative)]
    if scores[1] > scores[0]:
        log.info("what is bright in one image is dark in the other")
        return -1
    return 1


def _levels(grid: Grid, parameters: DeformParameters) -> list[tuple[int, int]]:
    """The shrink factors that leave enough voxels, each with its iterations; always the last."""
    levels = list(zip(parameters.shrink_factors, parameters.iterations, strict=True))
    useful = [
        (shrink, most)
        for shrink, most in levels[:-1]
        if min(grid.downsample(_factors(grid, shrink)).shape) >= _LEAST_AXIS
    ]
    return [*useful, levels[-1]]


def _descend(problem: _Problem, c: F32, most: int, *, adapting: bool = False) -> tuple[F32, int]:
    """The control values that at most `most` steps find, and the number of steps tried.

    A step that makes it worse is tried again at half its length, and at a quarter; but not the first one of another
    smoothness, which is chosen anew after some steps when `adapting`.
    """
    match, length = problem.measure(c), 1.0
    step = problem.step(c, match)
    pending, adapted = list(_ADAPT_AFTER) if adapting else [], False
    for tried in range(1, most + 1):
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
        elif better and tried < most:
            step = problem.step(c, match)
    return c, most


@dataclass(frozen=True)
class _Match:
    """How well the images agree at some deformation, cell by cell."""

    sums: F32
    local: F32
    correlation: F32
    quality: F32

    @property
    def known(self) -> Mask:
        """The cells that have something to compare."""
        known: Mask = (self.correlation != kernels.UNKNOWN) & (self.sums[0] > 0)
        return known

    @property
    def overlap(self) -> int:
        """The number of cells that have something to compare."""
        return int(np.count_nonzero(self.known))

    @property
    def score(self) -> float:
        """The mean quality of the voxels that can be compared; −∞ when there are none."""
        return self.average(self.quality)

    def average(self, values: F32) -> float:
        """The mean of `values`, one a cell, over the voxels that can be compared; −∞ when there are none."""
        return self._mean(values, self.known)

    def compare(self, other: _Match) -> tuple[float, float]:
        """Both scores on the cells that both know."""
        both = self.known & other.known
        return self._mean(self.quality, both), other._mean(other.quality, both)

    def _mean(self, values: F32, cells: Mask) -> float:
        counts = self.sums[0][cells].astype(np.float64)
        return float((values[cells] * counts).sum() / counts.sum()) if counts.size else -math.inf


class _Problem:
    """One level: what to measure, and the step that improves it."""

    def __init__(
        self, fixed: _Level, moving: _Level, start: Floats, shrink: int, parameters: DeformParameters, crew: Crew
    ) -> None:
        self._fixed, self._moving, self._start, self._parameters, self._crew = fixed, moving, start, parameters, crew
        self.shrink, self.tolerance = shrink, parameters.tolerance
        voxel = np.array(fixed.grid.spacing)
        finest = float(np.prod(voxel)) ** (1 / 3) / shrink
        control = (parameters.control_point_spacing or _SPACING * finest) * shrink
        z, y, x = (max(1, min(n, round(control / d))) for d, n in zip(voxel, fixed.grid.shape, strict=True))
        self.lattice = Lattice(fixed.grid, (z, y, x))
        window = (parameters.window or _WINDOW * finest) * shrink
        self._radius = np.array(
            [max(1, round((window / h - 1) / 2)) for h in self.lattice.points.spacing], dtype=np.int64
        )
        self._usual = _SMOOTHNESS * finest * shrink**1.25 * (1 if parameters.metric == "lncc" else _SMOOTHER)
        self._smoothness = parameters.smoothness * shrink**1.25 if parameters.smoothness else self._usual
        self._pull = start[:3, :3] / np.array(moving.grid.spacing)[:, None]
        origin = moving.grid.to_index(start[:3, :3] @ np.array(fixed.grid.origin) + start[:3, 3])
        self._matrix = np.concatenate([self._pull * voxel, origin[:, None]], axis=1)
        self._floors: F64 | None = None
        self._seen: tuple[float, float] | None = None

    def measure(self, c: F32) -> _Match:
        """Compare the images at the deformation `c`."""
        cells = self.lattice.cells
        if self._parameters.metric == "mi":
            return self._informed(c)
        sums = np.empty((kernels.SUMS, *cells), np.float32)
        self._crew.run(
            kernels.cell_sums,
            cells[0] * cells[1],
            self._fixed.image,
            self._fixed.mask,
            self._moving.image,
            self._moving.mask,
            self._matrix,
            self._pull,
            c,
            np.array(self.lattice.cell, dtype=np.int64),
            sums,
        )
        if self._parameters.metric == "lncc":
            local, correlation = self._windowed(sums)
            return _Match(sums, local, correlation, correlation)
        return _everywhere(sums, self._parameters.metric)

    def _informed(self, c: F32) -> _Match:
        """Mutual information, with the force and the stiffness of its steps as `sums[2:]`."""
        crew, cells, fixed = self._crew, self.lattice.cells, self._fixed.image
        cell, seen = np.array(self.lattice.cell, dtype=np.int64), np.empty(fixed.shape, np.float32)
        moving = self._moving.image, self._moving.mask
        crew.run(kernels.look_up, len(seen), self._fixed.mask, *moving, self._matrix, self._pull, c, cell, seen)
        widths = np.array([max(float(a.max()), 1e-6) / (BINS - 1) for a in (fixed, moving[0])])
        counts = np.empty((len(seen), BINS, BINS), np.float32)
        crew.run(kernels.joint_histogram, len(seen), fixed, seen, widths, counts)
        tables, curvature = information_tables(counts.sum(axis=0, dtype=np.float64), widths[1])
        sums = np.empty((11, *cells), np.float32)
        spacing = np.array(self._fixed.grid.spacing)
        rows = cells[0] * cells[1]
        crew.run(kernels.information_sums, rows, fixed, seen, widths, tables, curvature, spacing, cell, sums)
        none = np.zeros(cells, np.float32)
        return _Match(sums, none[None], none, sums[1] / np.maximum(sums[0], 1))

    def _windowed(self, sums: F32) -> tuple[F32, F32]:
        crew, cells = self._crew, self.lattice.cells
        windows = np.empty((kernels.WINDOW_SUMS, *cells), np.float32)
        crew.run(kernels.window_sums, kernels.WINDOW_SUMS, sums, self._radius, windows)
        full = float(np.prod(2 * self._radius + 1) * np.prod(self.lattice.cell))
        if self._floors is None:
            self._floors = _noise(windows, full / 2)
        local, correlation = np.empty((5, *cells), np.float32), np.empty(cells, np.float32)
        crew.run(kernels.correlate, cells[0], windows, self._floors, full / 8, local, correlation)
        return local, correlation

    def step(self, c: F32, match: _Match) -> F32:
        """The Gauss–Newton step from `c`, nowhere longer than the largest step."""
        force, stiffness, typical = self._system(match)
        scale = self._scale(typical)
        delta = solve(spread(force), stiffness, c, scale=scale, iterations=_SOLVER_STEPS, crew=self._crew)
        length = np.sqrt(np.square(delta).sum(axis=0))
        longest = np.float32(self._parameters.max_step * min(self._fixed.grid.spacing))
        delta *= longest / np.maximum(length, longest)
        return delta

    def _system(self, match: _Match) -> tuple[F32, F32, float]:
        """The data term's force (3, cells) and stiffness (6, cells), and the mean of the latter."""
        cells = self.lattice.cells
        force, stiffness = np.empty((3, *cells), np.float32), np.empty((6, *cells), np.float32)
        if self._parameters.metric == "mi":
            force[:], stiffness[:] = match.sums[2:5], match.sums[5:]
        else:
            spacing, emphasis = np.array(self._fixed.grid.spacing), self._parameters.foreground_emphasis
            data = match.sums, match.local, match.correlation, spacing, emphasis
            self._crew.run(kernels.gauss_newton, cells[0], *data, force, stiffness)
        isotropic = stiffness[:3].mean(axis=0)
        typical = float(isotropic[match.known].mean(dtype=np.float64))
        stiffness[:3] += _DAMPING * (isotropic + typical * (isotropic > 0))
        return force, stiffness, typical

    def _scale(self, typical: float) -> F64:
        """The weights of the bending energy along each axis."""
        relative = self._smoothness / np.array(self.lattice.points.spacing)
        return np.asarray(relative**2 * math.sqrt(typical))

    @property
    def adaptive(self) -> bool:
        """Whether the smoothness may follow from the images: not given, and windows explain what light does."""
        return self._parameters.smoothness is None and self._parameters.metric == "lncc"

    @property
    def rough(self) -> bool:
        """Whether the images support finer control points, which nobody has forbidden by giving others."""
        free = self.adaptive and self._parameters.control_point_spacing is None
        return free and self._smoothness < _ROUGH * self._usual

    def adapt(self, c: F32, match: _Match) -> None:
        """Move the smoothness to where the deformation found and the misfit left are most likely, within bounds."""
        _, stiffness, typical = self._system(match)
        points, scale = self.lattice.points, self._scale(typical)
        count = determined(stiffness, points.shape, scale=scale, iterations=2 * _SOLVER_STEPS, crew=self._crew)
        misfit = 1 - match.average(np.square(np.clip(match.correlation, 0, 1)))
        likely = (misfit * count / max(typical * bending(c, points.spacing), 1e-12)) ** 0.25
        now = math.log(self._smoothness), math.log(max(likely, 1e-6))
        changed = self._smoothness * math.exp(_eagerness(self._seen, now) * (now[1] - now[0]))
        self._seen = now
        self._smoothness = min(max(changed, _LEAST_SMOOTH * self._usual), _MOST_SMOOTH * self._usual)
        log.debug("shrink %d, smoothness %.2f µm is likely, %.2f is taken", self.shrink, likely, self._smoothness)

    def finer(self) -> _Problem:
        """The same images with finer control points."""
        voxel = float(np.prod(self._fixed.grid.spacing)) ** (1 / 3) / self.shrink
        parameters = replace(
            self._parameters,
            control_point_spacing=_FINER * voxel,
            window=_WIDER * (self._parameters.window or _WINDOW * voxel),
            smoothness=self._smoothness / self.shrink**1.25,
        )
        return _Problem(self._fixed, self._moving, self._start, self.shrink, parameters, self._crew)


def _eagerness(before: tuple[float, float] | None, now: tuple[float, float]) -> float:
    """By how much to overdo a step from what is taken to what is likely, both as logarithms: a secant, bounded."""
    if before is None or now[0] == before[0]:
        return _EAGER
    slope = (now[1] - before[1]) / (now[0] - before[0])
    return 1 / (1 - min(max(slope, 0.0), 1 - 1 / _MOST_EAGER))


def _noise(windows: F32, least: float) -> F64:
    """Variances (fixed, moving) of the emptiest windows, between a thousandth and a twentieth of the mean."""
    windows = windows[:, windows[0] >= min(least, float(windows[0].max()))].astype(np.float64)
    count = np.maximum(windows[0], 1)
    variances = [np.maximum(windows[k] / count - (windows[j] / count) ** 2, 0) for j, k in ((1, 3), (2, 4))]
    return np.array(
        [max(np.clip(np.percentile(v, _QUIET), 1e-3 * v.mean(), 0.05 * v.mean()), 1e-9) for v in variances]
    )


def _everywhere(sums: F32, metric: str) -> _Match:
    """The global metrics: one window over everything, or plain differences."""
    cells = sums.shape[1:]
    count, f, m, ff, mm, fm = sums[: kernels.WINDOW_SUMS].sum(axis=(1, 2, 3), dtype=np.float64) / max(
        1.0, float(sums[0].sum(dtype=np.float64))
    )
    local = np.zeros((5, *cells), np.float32)
    correlation = np.full(cells, 1.0 if metric == "mse" else 0.0, np.float32)
    if metric == "mse":
        local[2:] = 1  # no scaling, and a slope of one
        errors = sums[3] - 2 * sums[5] + sums[4]
        return _Match(sums, local, correlation, -errors / np.maximum(sums[0], 1))
    vf, vm = ff - f * f, mm - m * m
    if count > 0 and vf > 0 and vm > 0:
        covariance = fm - f * m
        for plane, value in enumerate((f, m, 1 / math.sqrt(vf), 1 / math.sqrt(vm), max(covariance, 0.0) / vf)):
            local[plane] = value
        correlation[:] = covariance / math.sqrt(vf * vm)
    return _Match(sums, local, correlation, correlation)
