"""`random`: many random affine maps about the start; the one under which the images look most alike is kept.

The first map is the identity. Each of the others is p ↦ c + R·H·S·(p − c) + t about the centre c of the fixed
foreground: rotation vector, shears and shift uniform within their limits, scales uniform in their logarithm.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.spatial.transform import Rotation

from teralign.grids import Floats, Grid
from teralign.registration.config import Limits, RandomConfig
from teralign.registration.image import Image, mean_position, spacing_for
from teralign.registration.linear import through_fields
from teralign.registration.metrics import Windows
from teralign.registration.steps import StepResult, accepted_if_better, kept
from teralign.transforms import Affine, Stack

_QUICK_VOXELS = 100_000  # of the images in which all maps are tried


def random_search(
    fixed: Image,
    moving: Image,
    config: RandomConfig,
    *,
    start: Stack,
    field_grid: Grid | None = None,
    seed: int = 0,
    threads: int = 1,
) -> StepResult:
    """The best of `random_iterations` maps: the `nreturn` best on coarse images are compared on finer ones.

    The metric is the mean correlation in windows.
    """
    moving, lead = through_fields(fixed, moving, start, threads)
    spacing = config.alignment_spacing or max(spacing_for(image.grid, _QUICK_VOXELS) for image in (fixed, moving))
    quick = Windows.of(fixed, moving, spacing=spacing, count=150)
    if fault := quick.fault():
        return kept(fault)
    centre = mean_position(fixed.coarsen_to(spacing))
    maps = random_maps(config, centre, np.random.default_rng(seed))
    scores = np.array([quick.score(lead @ Affine(m)) for m in maps])
    scores[~np.isfinite(scores)] = -math.inf
    leaders = np.argsort(-scores, kind="stable")[: config.nreturn]
    windows = Windows.of(fixed, moving)
    final = [windows.score(lead @ Affine(maps[i])) for i in leaders]
    best = int(np.argmax([s if math.isfinite(s) else -math.inf for s in final]))
    return accepted_if_better(Affine(maps[leaders[best]]), windows.score(lead), final[best], tried=len(maps))


def random_maps(config: RandomConfig, centre: Floats, rng: np.random.Generator) -> Floats:
    """The maps that are tried, (random_iterations, 4, 4), the identity first."""
    n = config.random_iterations

    def uniform(limit: Limits | None, values: int) -> Floats:
        width = 0.0 if limit is None else np.resize(np.asarray(limit, dtype=np.float64), values)
        return rng.uniform(-1, 1, (n, values)) * width

    shift = uniform(config.max_translation, 3)
    rotation = Rotation.from_rotvec(uniform(config.max_rotation, 3)).as_matrix()
    most = np.log(np.resize(np.maximum(config.max_scale or 1.0, 1e-6), 3))
    scale = np.exp(rng.uniform(-1, 1, (n, 3)) * most)
    shear = np.tile(np.eye(3), (n, 1, 1))
    shear[:, [0, 0, 1], [1, 2, 2]] = uniform(config.max_shear, 3)
    maps = np.tile(np.eye(4), (n, 1, 1))
    maps[:, :3, :3] = rotation @ shear @ (np.eye(3) * scale[:, None])
    maps[:, :3, 3] = centre + shift - maps[:, :3, :3] @ centre
    maps[0] = np.eye(4)
    return maps
