"""Rigid and affine alignment by optimisation, coarse to fine.

Images come as means over whole groups of voxels, so nothing aliases, and rotation is about the centre of the fixed
foreground. The default metric, correlation in windows, is improved by `gauss_newton`; the others by SimpleITK. Where
there is no start yet, the shift that a Fourier transform finds competes with standing still.
"""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Iterator, Sequence

import numpy as np

from teralign.grids import Floats, Grid
from teralign.registration import gauss_newton, itk
from teralign.registration.config import AffineConfig, RigidConfig, StepConfig
from teralign.registration.image import Image, mean_position, spacing_for
from teralign.registration.metrics import Measure, Windows
from teralign.registration.start import find_shift
from teralign.registration.steps import StepResult, accepted_if_better, kept
from teralign.transforms import Affine, Stack, warp

log = logging.getLogger(__name__)

_VOXELS = 1_500_000  # of the finest level
_LEVELS = (4, 2, 1)  # in units of the finest level's spacing
_LEAST_VOXELS = 5  # along an axis, for a level to be worth while
_GOOD = 0.5  # a correlation in windows that only a start near the truth has

LinearConfig = RigidConfig | AffineConfig


def linear(
    fixed: Image,
    moving: Image,
    config: LinearConfig,
    *,
    start: Stack,
    field_grid: Grid | None = None,
    seed: int = 0,
    threads: int = 1,
) -> StepResult:
    """The rigid (RigidConfig) or affine (AffineConfig) map after which `start` fits better.

    Its metric is measured before and after on the same samples: mutual information in nats for MMI and JHMI, minus
    the mean square for MS and D, else mean correlation in windows, for which an image with inverted brightness is
    turned round.
    """
    moving, lead = through_fields(fixed, moving, start, threads)
    finest = _finest(fixed, moving, config)
    fixed, moving = fixed.coarsen_to(finest), moving.coarsen_to(finest)
    measure = measure_of(config)
    windows = Windows.of(fixed, moving)
    if fault := windows.fault():
        return kept(fault)
    guesses = dict(_guesses(fixed, moving, config, lead, windows.score(lead, measure)))
    scores = {name: windows.score(lead @ Affine(matrix), measure) for name, matrix in guesses.items()}
    scores = {name: score if math.isfinite(score) else -math.inf for name, score in scores.items()}
    if measure == "lncc" and -min(scores.values()) > 2 * max(*scores.values(), 0.02) and min(scores.values()) > -1:
        moving, windows = moving.negative(), windows.negative()
        scores = {name: -score for name, score in scores.items()}
    before = windows.score(lead, measure)
    origin = max(scores, key=lambda name: scores[name])
    centre = mean_position(fixed)
    rigid = isinstance(config, RigidConfig)
    matrix = nearest_rigid(guesses[origin], centre) if rigid else guesses[origin]
    levels = list(_levels(fixed, moving, config, finest))
    if measure == "lncc" and scores[origin] > _GOOD and config.shrink_factors is None:
        levels = levels[-1:]
    try:
        if config.metric == "LNCC":
            matrix, iterations = _gauss_newton(levels, matrix, lead, centre, rigid=rigid)
        else:
            matrix, iterations = itk.linear_search(levels, matrix, lead, centre, config, seed=seed, threads=threads)
    except RuntimeError as error:
        return kept(f"the search failed: {itk.plain(error)}", before=before, start=origin)
    after = windows.score(lead @ Affine(matrix), measure)
    return accepted_if_better(Affine(matrix), before, after, start=origin, iterations=iterations, measure=measure)


def nearest_rigid(matrix: Floats, centre: Floats) -> Floats:
    """The rigid (4, 4) map nearest to an affine one that does the same to `centre`."""
    u, _, vt = np.linalg.svd(matrix[:3, :3])
    rotation = u @ np.diag([1, 1, np.linalg.det(u @ vt)]) @ vt
    rigid = np.eye(4)
    rigid[:3, :3] = rotation
    rigid[:3, 3] = matrix[:3, :3] @ centre + matrix[:3, 3] - rotation @ centre
    return rigid


def measure_of(config: StepConfig) -> Measure:
    """What a step with this metric, or with none, is judged by, before and after."""
    measures: dict[str, Measure] = {"MMI": "mi", "JHMI": "mi", "MS": "ms", "D": "ms"}
    return measures.get(getattr(config, "metric", None) or "LNCC", "lncc")


def through_fields(fixed: Image, moving: Image, start: Stack, threads: int) -> tuple[Image, Affine]:
    """The moving image and the affine that leads to it; behind a field, the image is warped to the fixed grid."""
    if start.affine is not None:
        return moving, start.affine
    return warped_image(fixed, moving, start, threads), Affine.identity()


def warped_image(fixed: Image, moving: Image, transform: Stack, threads: int) -> Image:
    """The moving image on the fixed grid, float32, its mask True where there is moving image that counts."""
    mask = np.ones(moving.array.shape, np.uint8) if moving.mask is None else moving.mask.astype(np.uint8)
    onto = functools.partial(warp, grid=fixed.grid, region=fixed.grid.region, transform=transform, threads=threads)
    array = onto(moving.array.astype(np.float32, copy=False), moving.grid)
    return Image(array, fixed.grid, onto(mask, moving.grid, interpolation="nearest") > 0)


def _finest(fixed: Image, moving: Image, config: LinearConfig) -> float:
    """The spacing in µm of the finest level."""
    if config.alignment_spacing is not None:
        return config.alignment_spacing
    if config.shrink_factors is not None:
        return max(min(image.grid.spacing) for image in (fixed, moving))
    return max(spacing_for(image.grid, _VOXELS) for image in (fixed, moving))


def _guesses(
    fixed: Image, moving: Image, config: LinearConfig, lead: Affine, score: float
) -> Iterator[tuple[str, Floats]]:
    """The (4, 4) maps that may be started from, by name; `score` is that of the first, the start itself."""
    yield "start", np.eye(4)
    wanted = config.initial_condition
    if wanted == "CENTER":
        target = lead.inverse().map_points(mean_position(moving)[None])[0]
        yield "centre of mass", _translation(target - mean_position(fixed))
    elif isinstance(wanted, tuple):
        yield "given", np.array(wanted, dtype=np.float64)
    known = measure_of(config) == "lncc" and score > _GOOD
    unmoved = np.array_equal(lead.matrix, np.eye(4))
    if wanted == "FFT" or (wanted != "IDENTITY" and unmoved and not known):
        shift = find_shift(fixed, moving, inverted=measure_of(config) != "ms")
        log.debug("shift by Fourier transform: %s µm, %.1f standard deviations", shift.translation, shift.strength)
        if shift.significant:
            yield "Fourier transform", (lead.inverse() @ Affine(_translation(shift.translation))).matrix


def _translation(shift: Floats) -> Floats:
    matrix = np.eye(4)
    matrix[:3, 3] = shift
    return matrix


def _levels(fixed: Image, moving: Image, config: LinearConfig, finest: float) -> Iterator[itk.Level]:
    """The images from coarse to fine, by the configuration's shrink_factors and smooth_sigmas or by their size."""
    factors = config.shrink_factors or _LEVELS
    sigmas = config.smooth_sigmas or (0.0,) * len(factors)
    for number, (factor, sigma) in enumerate(zip(factors, sigmas, strict=True)):
        near, far = (image.smooth(sigma).coarsen_to(factor * finest) for image in (fixed, moving))
        if number == len(factors) - 1 or min(near.array.shape + far.array.shape) >= _LEAST_VOXELS:
            yield itk.Level(near, far, factor * finest)


def _gauss_newton(
    levels: Sequence[itk.Level], matrix: Floats, lead: Affine, centre: Floats, *, rigid: bool
) -> tuple[Floats, int]:
    iterations = 0
    for level in levels:
        windows = Windows.of(level.fixed, level.moving, spacing=level.spacing)
        matrix, more = gauss_newton.refine(windows, matrix, lead, centre, rigid=rigid, spacing=level.spacing)
        iterations += more
    return matrix, iterations
