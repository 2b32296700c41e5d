"""One level of the deformable engine: the metric at a deformation, and the Gauss–Newton step that improves it."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass

import numpy as np

from teralign.grids import Bools, Floats
from teralign.registration import deform_kernels as kernels
from teralign.registration.config import USUAL_WINDOW, DeformConfig, Objective, smoothness_growth
from teralign.registration.deform_images import LevelImage
from teralign.registration.deform_information import BINS, information_tables
from teralign.registration.deform_kernels import F32, F64
from teralign.registration.deform_lattice import Lattice, bending, effective_parameters, solve, spread
from teralign.transforms.threads import ThreadPool

log = logging.getLogger(__name__)

_SPACING, _SMOOTHNESS = 4, 2  # voxels, where none is given; control points 6 apart lose accuracy
_SMOOTHER = 1.5  # times as much for the metrics without windows, which take uneven light for deformation
_QUIET = 0.3  # percentile of the windows' variances that counts as noise
_DAMPING = 0.1  # of the data term's diagonal, added to it: texture that runs one way holds in that way only
_SOLVER_STEPS = 12  # the next step starts afresh: 40 are slower and no better
_OVERSHOOT, _MAX_OVERSHOOT = 2.0, 4.0  # exponents of a change of smoothness: taken as it is, it creeps to its limit
_MIN_SMOOTH, _MAX_SMOOTH = 0.4, 1.5  # of the usual smoothness, should the estimate go astray
_ROUGH = 0.75  # of the usual smoothness; below, the finest level goes on with finer control points
_FINER, _WIDER = 3, 1.25  # voxels of their spacing, and times the window: it must still hold enough of them


@dataclass(frozen=True)
class Match:
    """The agreement of the images at some deformation, cell by cell.

    `sums` (planes, z, y, x) are those of `deform_kernels`; `local` (5, z, y, x) describes each cell's window;
    `correlation` and `quality`, which is the metric, are (z, y, x).
    """

    sums: F32
    local: F32
    correlation: F32
    quality: F32

    @property
    def known(self) -> Bools:
        """The cells (z, y, x) that hold voxels of both images."""
        known: Bools = (self.correlation != kernels.UNKNOWN) & (self.sums[0] > 0)
        return known

    @property
    def overlap(self) -> int:
        """The number of cells that hold voxels of both images."""
        return int(np.count_nonzero(self.known))

    @property
    def score(self) -> float:
        """The mean quality over the voxels that can be compared; −∞ without any."""
        return self.average(self.quality)

    def average(self, values: F32) -> float:
        """Return the mean of `values`, one a cell, over the voxels that can be compared; −∞ without any."""
        return self._mean(values, self.known)

    def compare(self, other: Match) -> tuple[float, float]:
        """Return both scores on the cells that both know."""
        both = self.known & other.known
        return self._mean(self.quality, both), other._mean(other.quality, both)

    def _mean(self, values: F32, cells: Bools) -> float:
        counts = self.sums[0][cells].astype(np.float64)
        return float((values[cells] * counts).sum() / counts.sum()) if counts.size else -math.inf


class LevelProblem:
    """One level: the metric at a deformation, and the step that improves it.

    `initial` (4, 4) maps fixed to moving points in µm; the level is `shrink` times coarser than the finest.
    """

    def __init__(
        self,
        fixed: LevelImage,
        moving: LevelImage,
        initial: Floats,
        shrink: int,
        config: DeformConfig,
        pool: ThreadPool,
    ) -> None:
        self._fixed, self._moving, self._initial, self._config, self._pool = fixed, moving, initial, config, pool
        self.shrink, self.tolerance = shrink, config.tolerance
        voxel = np.array(fixed.grid.spacing)
        finest = float(np.prod(voxel)) ** (1 / 3) / shrink
        control = (config.control_point_spacing or _SPACING * finest) * shrink
        z, y, x = (max(1, min(n, round(control / d))) for d, n in zip(voxel, fixed.grid.shape, strict=True))
        self.lattice = Lattice(fixed.grid, (z, y, x))
        window = (config.window or USUAL_WINDOW * finest) * shrink
        self._radius = np.array(
            [max(1, round((window / h - 1) / 2)) for h in self.lattice.points.spacing], dtype=np.int64
        )
        growth = smoothness_growth(shrink)
        self._usual = _SMOOTHNESS * finest * growth * (1 if config.objective == "lncc" else _SMOOTHER)
        self._smoothness = config.smoothness * growth if config.smoothness else self._usual
        self._to_voxels = initial[:3, :3] / np.array(moving.grid.spacing)[:, None]
        origin = moving.grid.to_index(initial[:3, :3] @ np.array(fixed.grid.origin) + initial[:3, 3])
        self._matrix = np.concatenate([self._to_voxels * voxel, origin[:, None]], axis=1)
        self._noise: F64 | None = None
        self._adapted: tuple[float, float] | None = None

    def measure(self, c: F32) -> Match:
        """Compare the images at the deformation of control values `c` (3, z, y, x) µm."""
        cells = self.lattice.cells
        if self._config.objective == "mi":
            return self._measure_information(c)
        sums = np.empty((kernels.SUMS, *cells), np.float32)
        self._pool.run(
            kernels.cell_sums,
            cells[0] * cells[1],
            self._fixed.array,
            self._fixed.mask,
            self._moving.array,
            self._moving.mask,
            self._matrix,
            self._to_voxels,
            c,
            np.array(self.lattice.cell, dtype=np.int64),
            sums,
        )
        if self._config.objective == "lncc":
            local, correlation = self._correlate_windows(sums)
            return Match(sums, local, correlation, correlation)
        return _compare_globally(sums, self._config.objective)

    def _measure_information(self, c: F32) -> Match:
        """Measure mutual information; `sums[2:]` of the result hold the force and the stiffness of its step."""
        pool, cells, fixed = self._pool, self.lattice.cells, self._fixed.array
        cell, warped = np.array(self.lattice.cell, dtype=np.int64), np.empty(fixed.shape, np.float32)
        moving = self._moving.array, self._moving.mask
        pool.run(
            kernels.look_up, len(warped), self._fixed.mask, *moving, self._matrix, self._to_voxels, c, cell, warped
        )
        widths = np.array([max(float(a.max()), 1e-6) / (BINS - 1) for a in (fixed, moving[0])])
        counts = np.empty((len(warped), BINS, BINS), np.float32)
        pool.run(kernels.joint_histogram, len(warped), fixed, warped, widths, counts)
        tables, curvature = information_tables(counts.sum(axis=0, dtype=np.float64), widths[1])
        sums = np.empty((11, *cells), np.float32)
        spacing = np.array(self._fixed.grid.spacing)
        rows = cells[0] * cells[1]
        pool.run(kernels.information_sums, rows, fixed, warped, widths, tables, curvature, spacing, cell, sums)
        none = np.zeros(cells, np.float32)
        return Match(sums, none[None], none, sums[1] / np.maximum(sums[0], 1))

    def _correlate_windows(self, sums: F32) -> tuple[F32, F32]:
        pool, cells = self._pool, self.lattice.cells
        windows = np.empty((kernels.WINDOW_SUMS, *cells), np.float32)
        pool.run(kernels.window_sums, kernels.WINDOW_SUMS, sums, self._radius, windows)
        full = float(np.prod(2 * self._radius + 1) * np.prod(self.lattice.cell))
        # Control points wider than the image: no window is nearly full, and the fullest are all there is.
        most = float(windows[0].max())
        full = full if most >= full / 8 else max(most, 1.0)
        if self._noise is None:
            self._noise = _noise_of(windows, full / 2)
        local, correlation = np.empty((5, *cells), np.float32), np.empty(cells, np.float32)
        pool.run(kernels.correlate, cells[0], windows, self._noise, full / 8, local, correlation)
        return local, correlation

    def voxel_error(self, match: Match) -> float:
        """Return how far the residual misplaces a single voxel: σ_residual / |∇f|, harmonic mean of cells, in µm.

        So cells weigh by what they tell, and empty ones nothing. Of the gradient only the share that both images have
        in common counts, since noise has a gradient too. Infinite where nothing is in common, NaN where nothing can
        be compared.
        """
        known = match.known
        common = np.square(np.clip(match.correlation[known], 1e-3, 1 - 1e-3), dtype=np.float64)
        spacing = np.array(self._fixed.grid.spacing)[:, None]
        slopes = (match.sums[15:18, known] / spacing**2).sum(axis=0) * np.square(match.local[2, known])
        told = slopes / ((1 / common - 1) * match.sums[0, known])
        with np.errstate(divide="ignore"):
            return float(1 / np.sqrt(told.mean())) if told.size else math.nan

    def step(self, c: F32, match: Match) -> F32:
        """Return the Gauss–Newton step (3, z, y, x) µm from `c`, nowhere longer than the largest step."""
        force, stiffness, typical = self._system(match)
        scale = self._scale(typical)
        delta = solve(spread(force), stiffness, c, scale=scale, iterations=_SOLVER_STEPS, pool=self._pool)
        length = np.sqrt(np.square(delta).sum(axis=0))
        longest = np.float32(self._config.max_step * min(self._fixed.grid.spacing))
        delta *= longest / np.maximum(length, longest)
        return delta

    def _system(self, match: Match) -> tuple[F32, F32, float]:
        """Return the data term's force (3, cells) and stiffness (6, cells), and the mean stiffness."""
        cells = self.lattice.cells
        force, stiffness = np.empty((3, *cells), np.float32), np.empty((6, *cells), np.float32)
        if self._config.objective == "mi":
            force[:], stiffness[:] = match.sums[2:5], match.sums[5:]
        else:
            spacing, emphasis = np.array(self._fixed.grid.spacing), self._config.foreground_emphasis
            data = match.sums, match.local, match.correlation, spacing, emphasis
            self._pool.run(kernels.gauss_newton, cells[0], *data, force, stiffness)
        isotropic = stiffness[:3].mean(axis=0)
        typical = float(isotropic[match.known].mean(dtype=np.float64))
        stiffness[:3] += _DAMPING * (isotropic + typical * (isotropic > 0))
        return force, stiffness, typical

    def _scale(self, typical: float) -> F64:
        """Return the weights of the bending energy along each axis."""
        relative = self._smoothness / np.array(self.lattice.points.spacing)
        return np.asarray(relative**2 * math.sqrt(typical))

    @property
    def adaptive(self) -> bool:
        """Whether the smoothness follows from the images: none is given, and windows explain changes of light."""
        return self._config.smoothness is None and self._config.objective == "lncc"

    @property
    def rough(self) -> bool:
        """Whether to continue with finer control points: the images support it and the user set no spacing."""
        free = self.adaptive and self._config.control_point_spacing is None
        return free and self._smoothness < _ROUGH * self._usual

    def adapt(self, c: F32, match: Match) -> None:
        """Move the smoothness, within bounds, to where deformation and misfit are most likely together."""
        _, stiffness, typical = self._system(match)
        points, scale = self.lattice.points, self._scale(typical)
        count = effective_parameters(
            stiffness, points.shape, scale=scale, iterations=2 * _SOLVER_STEPS, pool=self._pool
        )
        misfit = 1 - match.average(np.square(np.clip(match.correlation, 0, 1)))
        likely = (misfit * count / max(typical * bending(c, points.spacing), 1e-12)) ** 0.25
        now = math.log(self._smoothness), math.log(max(likely, 1e-6))
        changed = self._smoothness * math.exp(_overshoot(self._adapted, now) * (now[1] - now[0]))
        self._adapted = now
        self._smoothness = min(max(changed, _MIN_SMOOTH * self._usual), _MAX_SMOOTH * self._usual)
        log.debug("shrink %d, smoothness %.2f µm is likely, %.2f is taken", self.shrink, likely, self._smoothness)

    def finer(self) -> LevelProblem:
        """Return the problem of the same images with finer control points."""
        voxel = float(np.prod(self._fixed.grid.spacing)) ** (1 / 3) / self.shrink
        lengths = {
            "control_point_spacing": _FINER * voxel,
            "window": _WIDER * (self._config.window or USUAL_WINDOW * voxel),
            "smoothness": self._smoothness / smoothness_growth(self.shrink),
        }
        config = self._config.model_copy(update=lengths)
        return LevelProblem(self._fixed, self._moving, self._initial, self.shrink, config, self._pool)


def _overshoot(before: tuple[float, float] | None, now: tuple[float, float]) -> float:
    """Return the factor of a step from the present to the likely smoothness, as logarithms: a bounded secant."""
    if before is None or now[0] == before[0]:
        return _OVERSHOOT
    slope = (now[1] - before[1]) / (now[0] - before[0])
    return 1 / (1 - min(max(slope, 0.0), 1 - 1 / _MAX_OVERSHOOT))


def _noise_of(windows: F32, min_voxels: float) -> F64:
    """Return the variances (fixed, moving) of the emptiest windows, the noise.

    They are at most a twentieth of the mean: an image with texture everywhere has no empty windows.
    """
    windows = windows[:, windows[0] >= min(min_voxels, float(windows[0].max()))].astype(np.float64)
    count = np.maximum(windows[0], 1)
    variances = [np.maximum(windows[k] / count - (windows[j] / count) ** 2, 0) for j, k in ((1, 3), (2, 4))]
    return np.array(
        [max(np.clip(np.percentile(v, _QUIET), 1e-3 * v.mean(), 0.05 * v.mean()), 1e-9) for v in variances]
    )


def _compare_globally(sums: F32, objective: Objective) -> Match:
    """Return the match by a global metric: one window over all cells, or plain squared differences."""
    cells = sums.shape[1:]
    count, f, m, ff, mm, fm = sums[: kernels.WINDOW_SUMS].sum(axis=(1, 2, 3), dtype=np.float64) / max(
        1.0, float(sums[0].sum(dtype=np.float64))
    )
    local = np.zeros((5, *cells), np.float32)
    correlation = np.full(cells, 1.0 if objective == "mse" else 0.0, np.float32)
    if objective == "mse":
        local[2:] = 1  # no scaling, and a slope of one
        errors = sums[3] - 2 * sums[5] + sums[4]
        return Match(sums, local, correlation, -errors / np.maximum(sums[0], 1))
    vf, vm = ff - f * f, mm - m * m
    if count > 0 and vf > 0 and vm > 0:
        covariance = fm - f * m
        for plane, value in enumerate((f, m, 1 / math.sqrt(vf), 1 / math.sqrt(vm), max(covariance, 0.0) / vf)):
            local[plane] = value
        correlation[:] = covariance / math.sqrt(vf * vm)
    return Match(sums, local, correlation, correlation)
