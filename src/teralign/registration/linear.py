"""Rigid and affine alignment by optimisation, coarse to fine, with SimpleITK.

Images come as means over whole groups of voxels (nothing aliases), and samples, seeded, are taken where the fixed
image has structure. Rotation is about the centre of the fixed foreground. Where there is no start yet, the shift that a
Fourier transform finds competes with standing still.
"""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from teralign.grids import Floats, Grid
from teralign.registration import itk
from teralign.registration.config import AffineConfig, RigidConfig
from teralign.registration.image import Image, Mask, mean_position, spacing_for
from teralign.registration.metrics import Measure, Windows
from teralign.registration.start import find_shift
from teralign.registration.steps import StepResult, accepted_if_better, kept
from teralign.transforms import Affine, Stack, warp

log = logging.getLogger(__name__)

_VOXELS = 1_500_000  # of the finest level
_LEVELS = (4, 2, 1)  # in units of the finest level's spacing
_SAMPLES = 30_000  # a level
_INFORMATIVE = 0.4  # the share of voxels, those with the most structure, that samples come from
_STRUCTURE = 5  # voxels along the edge of the window in which structure is measured
_LEAST_VOXELS = 5  # along an axis, for a level to be worth while

LinearConfig = RigidConfig | AffineConfig


@dataclass(frozen=True)
class _Level:
    """The two images at one resolution, and the spacing in µm that steps are measured in."""

    fixed: Image
    moving: Image
    spacing: float


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
    the mean square for MS and D, else mean correlation in windows.
    """
    moving, before_all = through_fields(fixed, moving, start, threads)
    measure = measure_of(config)
    windows = Windows.of(fixed, moving)
    if not windows.inside.any():
        return kept("no voxel of the fixed image counts")
    score = windows.score(before_all, measure)
    matrix, origin = _first_guess(fixed, moving, config, before_all, windows, score)
    centre = mean_position(fixed.coarsen_to(spacing_for(fixed.grid, 200_000)))
    transform = itk.linear_transform(rigid=isinstance(config, RigidConfig))
    if isinstance(config, RigidConfig):
        matrix = nearest_rigid(matrix, centre)
    itk.set_matrix(transform, matrix, centre)
    iterations = 0
    for level in _levels(fixed, moving, config):
        try:
            iterations += _optimise(level, transform, before_all, config, seed, threads)
        except RuntimeError as error:
            return kept(f"the search failed: {plain(error)}", before=score, start=origin)
    found = Affine(itk.matrix_of(transform))
    after = windows.score(before_all @ found, measure)
    return accepted_if_better(found, score, after, start=origin, iterations=iterations, measure=measure)


def nearest_rigid(matrix: Floats, centre: Floats) -> Floats:
    """The rigid (4, 4) map nearest to an affine one that does the same to `centre`."""
    u, _, vt = np.linalg.svd(matrix[:3, :3])
    rotation = u @ np.diag([1, 1, np.linalg.det(u @ vt)]) @ vt
    rigid = np.eye(4)
    rigid[:3, :3] = rotation
    rigid[:3, 3] = matrix[:3, :3] @ centre + matrix[:3, 3] - rotation @ centre
    return rigid


def measure_of(config: itk.SearchConfig) -> Measure:
    """What a step with this metric is judged by, before and after."""
    return {"MMI": "mi", "JHMI": "mi", "MS": "ms", "D": "ms"}.get(config.metric, "lncc")  # type: ignore[return-value]


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


def _first_guess(
    fixed: Image, moving: Image, config: LinearConfig, start: Affine, windows: Windows, score: float
) -> tuple[Floats, str]:
    """The (4, 4) map to start from and its name: the best, by the step's measure, of those that are to be tried."""
    guesses: list[tuple[str, Floats]] = [("start", np.eye(4))]
    wanted = config.initial_condition
    if wanted == "CENTER":
        target = start.inverse().map_points(mean_position(moving)[None])[0]
        guesses.append(("centre of mass", _translation(target - mean_position(fixed))))
    elif isinstance(wanted, tuple):
        guesses.append(("given", np.array(wanted, dtype=np.float64)))
    if wanted == "FFT" or (wanted != "IDENTITY" and np.array_equal(start.matrix, np.eye(4))):
        shift = find_shift(fixed, moving, inverted=measure_of(config) == "mi")
        log.debug("shift by Fourier transform: %s µm, %.1f standard deviations", shift.translation, shift.strength)
        if shift.significant:
            guess = start.inverse() @ Affine(_translation(shift.translation))
            guesses.append(("Fourier transform", guess.matrix))
    measure = measure_of(config)
    scores = [score] + [windows.score(start @ Affine(matrix), measure) for _, matrix in guesses[1:]]
    best = int(np.argmax([s if math.isfinite(s) else -math.inf for s in scores]))
    return guesses[best][1], guesses[best][0]


def _translation(shift: Floats) -> Floats:
    matrix = np.eye(4)
    matrix[:3, 3] = shift
    return matrix


def _levels(fixed: Image, moving: Image, config: LinearConfig) -> Iterator[_Level]:
    """The images from coarse to fine, by the configuration's shrink_factors and smooth_sigmas or by their size."""
    finest = max(min(image.grid.spacing) for image in (fixed, moving))
    if config.alignment_spacing is not None:
        finest = max(finest, config.alignment_spacing)
    elif config.shrink_factors is None:
        finest = max(spacing_for(image.grid, _VOXELS) for image in (fixed, moving))
    factors = config.shrink_factors or _LEVELS
    sigmas = config.smooth_sigmas or (0.0,) * len(factors)
    fixed, moving = fixed.coarsen_to(finest), moving.coarsen_to(finest)
    for factor, sigma in zip(factors, sigmas, strict=True):
        spacing = factor * finest
        level = _Level(fixed.smooth(sigma).coarsen_to(spacing), moving.smooth(sigma).coarsen_to(spacing), spacing)
        shapes = (level.fixed.array.shape, level.moving.array.shape)
        if factor == factors[-1] or min(min(shape) for shape in shapes) >= _LEAST_VOXELS:
            yield level


def _optimise(
    level: _Level, transform: itk.SitkTransform, start: Affine, config: LinearConfig, seed: int, threads: int
) -> int:
    """Improve an ITK transform in place on one level; the number of iterations."""
    method = itk.search(config, step=level.spacing, seed=seed, threads=threads)
    mask = level.fixed.mask
    if config.sampling is None:
        mask = informative(level.fixed)
        share = min(1.0, _SAMPLES / max(1, int(mask.sum())))
        method.SetMetricSamplingStrategy(method.RANDOM)
        method.SetMetricSamplingPercentage(share, seed + 1)
    if mask is not None:
        method.SetMetricFixedMask(itk.to_sitk(mask, level.fixed))
    if level.moving.mask is not None:
        method.SetMetricMovingMask(itk.to_sitk(level.moving.mask, level.moving))
    method.SetMovingInitialTransform(itk.affine_of(start.matrix))
    method.SetInitialTransform(transform, inPlace=True)
    method.Execute(itk.to_sitk(level.fixed.array, level.fixed), itk.to_sitk(level.moving.array, level.moving))
    return int(method.GetOptimizerIteration())


def informative(image: Image) -> Mask:
    """The voxels with the most structure around them (variance in a small window), within the mask."""
    array = image.array.astype(np.float32, copy=False)
    array = array - array.mean()
    mean = ndimage.uniform_filter(array, _STRUCTURE)
    variance = ndimage.uniform_filter(array**2, _STRUCTURE) - mean**2
    inside = np.ones(array.shape, bool) if image.mask is None else image.mask
    if not inside.any():
        return inside
    limit = np.quantile(variance[inside], 1 - _INFORMATIVE)
    chosen: Mask = inside & (variance >= limit)
    return chosen


def plain(error: RuntimeError) -> str:
    """The last line of an ITK exception, which is the one that says what happened."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].split("): ")[-1] if lines else "SimpleITK gave no reason"
