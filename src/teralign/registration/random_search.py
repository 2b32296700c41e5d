"""`random`: of many random affine maps, the one under which the images agree best.

The first map is the identity. Each of the others is p ↦ c + R·H·S·(p − c) + t about the centre c of the fixed
foreground: rotation vector, shears and shift uniform within their limits, scales uniform in their logarithm.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.spatial.transform import Rotation

from teralign.grids import Floats
from teralign.registration.config import Limits, RandomConfig
from teralign.registration.image import Image, mean_position, spacing_for
from teralign.registration.linear import through_fields
from teralign.registration.metrics import Windows
from teralign.registration.steps import StepContext, StepResult, accepted_if_better, kept
from teralign.transforms import Affine

_QUICK_VOXELS = 100_000  # of the images in which all maps are tried: a thousand maps in about a second


def random_search(fixed: Image, moving: Image, config: RandomConfig, context: StepContext) -> StepResult:
    """Find the best of `random_iterations` maps: the `nreturn` best on coarse images are compared on finer ones.

    The metric is the mean correlation in windows.
    """
    moving, initial = through_fields(fixed, moving, context)
    spacing = config.alignment_spacing or max(spacing_for(image.grid, _QUICK_VOXELS) for image in (fixed, moving))
    quick = Windows.of(fixed, moving, spacing=spacing, count=150)
    if fault := quick.fault():
        return kept(fault)
    centre = mean_position(fixed.downsample_to(spacing))
    maps = random_maps(config, centre, np.random.default_rng(context.seed))
    scores = np.array([quick.score(initial @ Affine(m)) for m in maps])
    scores[~np.isfinite(scores)] = -math.inf
    leaders = np.argsort(-scores, kind="stable")[: config.nreturn]
    windows = Windows.of(fixed, moving)
    final = [windows.score(initial @ Affine(maps[i])) for i in leaders]
    best = int(np.argmax([s if math.isfinite(s) else -math.inf for s in final]))
    return accepted_if_better(Affine(maps[leaders[best]]), windows.score(initial), final[best], tried=len(maps))


def random_maps(config: RandomConfig, centre: Floats, rng: np.random.Generator) -> Floats:
    """Return the maps to try, (random_iterations, 4, 4), the identity first."""
    n = config.random_iterations

    def uniform(limit: Limits | Floats | None, values: int) -> Floats:
        width = 0.0 if limit is None else np.resize(np.asarray(limit, dtype=np.float64), values)
        return rng.uniform(-1, 1, (n, values)) * width

    shift = uniform(config.max_translation, 3)
    turns = None if config.max_rotation_degrees is None else np.radians(config.max_rotation_degrees)
    rotation = Rotation.from_rotvec(uniform(turns, 3)).as_matrix()
    growth = np.log(np.resize(np.maximum(config.max_scale or 1.0, 1e-6), 3))
    scale = np.exp(rng.uniform(-1, 1, (n, 3)) * growth)
    shear = np.tile(np.eye(3), (n, 1, 1))
    shear[:, [0, 0, 1], [1, 2, 2]] = uniform(config.max_shear, 3)
    maps = np.tile(np.eye(4), (n, 1, 1))
    maps[:, :3, :3] = rotation @ shear @ (np.eye(3) * scale[:, None])
    maps[:, :3, 3] = centre + shift - maps[:, :3, :3] @ centre
    maps[0] = np.eye(4)
    return maps
