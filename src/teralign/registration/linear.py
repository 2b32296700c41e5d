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

from teralign.grids import Floats, FloatTriple, as_float_triple
from teralign.registration import gauss_newton, itk
from teralign.registration.config import LinearConfig, RigidConfig, StepConfig
from teralign.registration.fourier_shift import find_shift
from teralign.registration.image import Image, mean_position, spacing_for
from teralign.registration.metrics import MEASURED_VOXELS, Measure, Windows
from teralign.registration.steps import StepContext, StepResult, accepted_if_better, kept
from teralign.transforms import Affine, warp

log = logging.getLogger(__name__)

_LEVELS = (4, 2, 1)  # in units of the finest level's spacing
_MIN_VOXELS = 5  # along an axis: on fewer, a gradient says little
_GOOD = 0.5  # a correlation in windows that only an initial transform near the truth has


def linear(fixed: Image, moving: Image, config: LinearConfig, context: StepContext) -> StepResult:
    """Find the rigid (RigidConfig) or affine (AffineConfig) map after which the initial transform fits better.

    The metric is measured before and after on the same samples: mutual information in nats for MMI and JHMI, minus
    the mean square for MS and D, else mean correlation in windows, for which an image of inverted brightness is
    replaced by its negative.
    """
    moving, initial = through_fields(fixed, moving, context)
    finest = _finest(fixed, moving, config)
    fixed, moving = fixed.downsample_to(finest), moving.downsample_to(finest)
    measure = measure_of(config)
    windows = Windows.of(fixed, moving)
    if fault := windows.fault():
        return kept(fault)
    guesses = dict(_guesses(fixed, moving, config, initial, windows.score(initial, measure)))
    scores = {name: windows.score(initial @ Affine(matrix), measure) for name, matrix in guesses.items()}
    scores = {name: score if math.isfinite(score) else -math.inf for name, score in scores.items()}
    if measure == "lncc" and -min(scores.values()) > 2 * max(*scores.values(), 0.02) and min(scores.values()) > -1:
        moving, windows = moving.negative(), windows.negative()
        scores = {name: -score for name, score in scores.items()}
    before = windows.score(initial, measure)
    origin = max(scores, key=lambda name: scores[name])
    centre = mean_position(fixed)
    rigid = isinstance(config, RigidConfig)
    matrix = nearest_rigid(guesses[origin], centre) if rigid else guesses[origin]
    levels = list(_levels(fixed, moving, config, finest))
    if measure == "lncc" and scores[origin] > _GOOD and config.shrink_factors is None:
        levels = levels[-1:]
    try:
        if config.metric == "LNCC":
            matrix, iterations = _gauss_newton(levels, matrix, initial, centre, rigid=rigid)
        else:
            matrix, iterations = itk.linear_search(levels, matrix, initial, centre, config, context)
    except RuntimeError as error:
        return kept(f"the search failed: {itk.plain(error)}", before=before, start=origin)
    after = windows.score(initial @ Affine(matrix), measure)
    return accepted_if_better(Affine(matrix), before, after, start=origin, iterations=iterations, measure=measure)


def nearest_rigid(matrix: Floats, centre: Floats) -> Floats:
    """Return the rigid (4, 4) map nearest to an affine one that maps `centre` (µm) to the same place."""
    u, _, vt = np.linalg.svd(matrix[:3, :3])
    rotation = u @ np.diag([1, 1, np.linalg.det(u @ vt)]) @ vt
    rigid = np.eye(4)
    rigid[:3, :3] = rotation
    rigid[:3, 3] = matrix[:3, :3] @ centre + matrix[:3, 3] - rotation @ centre
    return rigid


def measure_of(config: StepConfig) -> Measure:
    """Return the measure that judges a step of this configuration, before and after."""
    measures: dict[str, Measure] = {"MMI": "mi", "JHMI": "mi", "MS": "ms", "D": "ms"}
    return measures.get(getattr(config, "metric", None) or "LNCC", "lncc")


def through_fields(fixed: Image, moving: Image, context: StepContext) -> tuple[Image, Affine]:
    """Return the moving image and the affine that maps to it; the image is warped where fields come first."""
    affine = context.initial_transform.affine
    return (warped_image(fixed, moving, context), Affine.identity()) if affine is None else (moving, affine)


def warped_image(fixed: Image, moving: Image, context: StepContext) -> Image:
    """Return the moving image on the fixed grid, float32, through the initial transform, and masked outside it."""
    mask = np.ones(moving.array.shape, np.uint8) if moving.mask is None else moving.mask.astype(np.uint8)
    onto = functools.partial(
        warp,
        grid=fixed.grid,
        region=fixed.grid.region,
        transform=context.initial_transform,
        threads=context.threads,
    )
    array = onto(moving.array.astype(np.float32, copy=False), moving.grid)
    return Image(array, fixed.grid, onto(mask, moving.grid, interpolation="nearest") > 0)


def _finest(fixed: Image, moving: Image, config: LinearConfig) -> float | FloatTriple:
    """Return the spacing in µm of the finest level, one for all axes or one an axis (z, y, x)."""
    if config.alignment_spacing is not None:
        return config.alignment_spacing
    if config.shrink_factors is not None:
        return max(min(image.grid.spacing) for image in (fixed, moving))
    return max(spacing_for(image.grid, MEASURED_VOXELS) for image in (fixed, moving))


def _guesses(
    fixed: Image, moving: Image, config: LinearConfig, initial: Affine, score: float
) -> Iterator[tuple[str, Floats]]:
    """Yield the (4, 4) maps to choose a start from, by name; `score` is that of the initial transform alone."""
    yield "start", np.eye(4)
    wanted = config.initial_condition
    if wanted == "CENTER":
        target = initial.inverse().map_points(mean_position(moving)[None])[0]
        yield "centre of mass", _translation(target - mean_position(fixed))
    elif isinstance(wanted, tuple):
        yield "given", np.array(wanted, dtype=np.float64)
    known = measure_of(config) == "lncc" and score > _GOOD
    unmoved = np.array_equal(initial.matrix, np.eye(4))
    if wanted == "FFT" or (wanted != "IDENTITY" and unmoved and not known):
        shift = find_shift(fixed, moving, inverted=measure_of(config) != "ms")
        log.debug("shift by Fourier transform: %s µm, %.1f standard deviations", shift.translation, shift.strength)
        if shift.significant:
            yield "Fourier transform", (initial.inverse() @ Affine(_translation(shift.translation))).matrix


def _translation(shift: Floats) -> Floats:
    matrix = np.eye(4)
    matrix[:3, 3] = shift
    return matrix


def _levels(
    fixed: Image, moving: Image, config: LinearConfig, finest: float | FloatTriple
) -> Iterator[itk.LevelPair]:
    """Yield the images from coarse to fine, by shrink_factors and smooth_sigmas or by their size."""
    factors = config.shrink_factors or _LEVELS
    sigmas = config.smooth_sigmas or (0.0,) * len(factors)
    for number, (factor, sigma) in enumerate(zip(factors, sigmas, strict=True)):
        spacing = as_float_triple(factor * s for s in finest) if isinstance(finest, tuple) else factor * finest
        coarse = [image.smooth(sigma).downsample_to(spacing) for image in (fixed, moving)]
        if number == len(factors) - 1 or min(coarse[0].array.shape + coarse[1].array.shape) >= _MIN_VOXELS:
            yield itk.LevelPair(coarse[0], coarse[1], spacing)


def _gauss_newton(
    levels: Sequence[itk.LevelPair], matrix: Floats, initial: Affine, centre: Floats, *, rigid: bool
) -> tuple[Floats, int]:
    iterations = 0
    for level in levels:
        windows = Windows.of(level.fixed, level.moving, spacing=level.spacing)
        matrix, more = gauss_newton.refine(windows, matrix, initial, centre, rigid=rigid, spacing=level.step)
        iterations += more
    return matrix, iterations
