"""`ransac`: blobs of both images, matched by their surroundings, and a linear map that many matches agree on.

Trials of three matches each propose similarity maps; those with most matches within the threshold are refined, on
their inliers, as the model that was asked for and as the simpler ones, and the map under which the images look most
alike is taken. What to look for is chosen from the image where the configuration leaves it open: the voxel size s at
which the images have two million voxels gives blobs of 2 s to 4 s, contexts of 8 s and a threshold of 3 s.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from scipy.special import bdtrc

from teralign.grids import Floats, Grid
from teralign.registration.blobs import Blobs, find_blobs
from teralign.registration.config import RansacConfig, SpotDetection
from teralign.registration.image import Image, spacing_for
from teralign.registration.linear import through_fields
from teralign.registration.matching import Contexts, match
from teralign.registration.metrics import Windows
from teralign.registration.steps import StepResult, accepted_if_better, kept
from teralign.transforms import Affine, Stack

_VOXELS = 2_000_000
_MOST_TRIALS = 4000
_REFINED = 8  # proposals
_ROTATION_STEP = 17.5  # degrees; contexts still match when turned by half of that
_SEARCHED = 600  # blobs of each image in the search over rotations
_CHANCE = 1e-4  # the greatest probability that a set of inliers is chance
_MODELS = ("rigid", "similarity", "affine")
_LEAST_INLIERS = {"rigid": 4, "similarity": 5, "affine": 8}


@dataclass(frozen=True)
class _Sizes:
    """Lengths in µm: blob radii of both images, reach of contexts, and how far an inlier may be off."""

    fixed_radii: Sequence[float]
    moving_radii: Sequence[float]
    context: float | Floats
    threshold: float


@dataclass(frozen=True)
class _Fit:
    """A (4, 4) map, z, y, x µm, and the matches that agree with it."""

    matrix: Floats
    inliers: NDArray[np.bool_]
    model: str


@dataclass(frozen=True)
class _Side:
    """One of the two images: its blobs, strongest first, and what lies around any place."""

    image: Image
    blobs: Blobs
    contexts: Contexts

    @classmethod
    def of(
        cls,
        image: Image,
        radii: Sequence[float],
        context: float | Floats,
        config: RansacConfig,
        how: SpotDetection,
        spots: Sequence[Sequence[float]] | None,
    ) -> _Side:
        if spots:
            blobs = _given(spots, image)
        else:
            blobs = find_blobs(image, radii, count=config.nspots, least=how.threshold_rel, clip=how.winsorize_limits)
        return cls(image, blobs, Contexts.of(image, context))


@dataclass(frozen=True)
class _Found:
    """The moving image, as it is or with its brightness inverted, how many blobs match, and the maps they support."""

    moving: Image
    matches: int
    fits: Sequence[_Fit]


def ransac(
    fixed: Image,
    moving: Image,
    config: RansacConfig,
    *,
    start: Stack,
    field_grid: Grid | None = None,
    seed: int = 0,
    threads: int = 1,
) -> StepResult:
    """The linear map on which the matches of blobs agree, if they do, and if the images are then more alike.

    The metric is the mean correlation in windows. Where there is no start yet and the images turn out not to match as
    they lie, rotations up to `max_rotation` degrees are tried.
    """
    moving, lead = through_fields(fixed, moving, start, threads)
    if config.alignment_spacing is not None:
        fixed, moving = (image.coarsen_to(config.alignment_spacing) for image in (fixed, moving))
    sizes = _sizes(fixed, moving, config)
    ours = _Side.of(
        fixed, sizes.fixed_radii, sizes.context, config, config.fix_spot_detection_kwargs, config.fix_spots
    )
    theirs = _Side.of(
        moving, sizes.moving_radii, sizes.context, config, config.mov_spot_detection_kwargs, config.mov_spots
    )
    details = {"fixed_blobs": len(ours.blobs), "moving_blobs": len(theirs.blobs)}
    for role, side, least in (
        ("fixed", ours, config.fix_spots_count_threshold),
        ("moving", theirs, config.mov_spots_count_threshold),
    ):
        if len(side.blobs) < max(least, 3):
            reason = f"only {len(side.blobs)} blobs in the {role} image, {max(least, 3)} are needed"
            return kept(reason, **details)
    found = _search(ours, theirs, lead, config, sizes, seed)
    details["matches"] = found.matches
    if found.matches < config.point_matches_threshold:
        return kept(f"only {found.matches} blobs match, {config.point_matches_threshold} are needed", **details)
    if not found.fits:
        return kept(f"the {found.matches} matches of blobs agree on no map", **details)
    return _judge(fixed, found.moving, lead, found.fits, config, details)


def _judge(
    fixed: Image, moving: Image, lead: Affine, fits: Sequence[_Fit], config: RansacConfig, details: dict[str, int]
) -> StepResult:
    allowed = fits
    limit = config.diagonal_constraint
    if limit is not None:
        allowed = [fit for fit in fits if np.abs(np.diag(fit.matrix)[:3] - 1).max() <= limit]
        if not allowed:
            off = min(np.abs(np.diag(fit.matrix)[:3] - 1).max() for fit in fits)
            return kept(
                f"the diagonal of the map is {off:.2f} off 1, more than diagonal_constraint allows", **details
            )
    windows = Windows.of(fixed, moving)
    before = windows.score(lead)
    scores = [windows.score(lead @ Affine(fit.matrix)) for fit in allowed]
    best = int(np.argmax([s if math.isfinite(s) else -math.inf for s in scores]))
    fit = allowed[best]
    inliers = int(fit.inliers.sum())
    return accepted_if_better(Affine(fit.matrix), before, scores[best], **details, inliers=inliers, model=fit.model)


def _sizes(fixed: Image, moving: Image, config: RansacConfig) -> _Sizes:
    """The configuration's lengths, in µm, and what the images suggest where it gives none."""
    s = max(spacing_for(image.grid, _VOXELS) for image in (fixed, moving))
    radii = [_radii(config, image.grid, s) for image in (fixed, moving)]
    context: float | Floats = 8 * s
    if config.context_radius is not None:
        context = config.context_radius
    elif config.cc_radius is not None:
        context = np.broadcast_to(config.cc_radius, 3) * np.array(fixed.grid.spacing)
    return _Sizes(radii[0], radii[1], context, config.align_threshold or 3 * s)


def _radii(config: RansacConfig, grid: Grid, s: float) -> list[float]:
    """The blob radii to look for in µm, ascending; blob_sizes are voxels of the image at hand."""
    if config.blob_radii is not None:
        low, high = (float(np.mean(r)) for r in config.blob_radii)
    elif config.blob_sizes is not None:
        low, high = (float(np.mean(np.multiply(r, grid.spacing))) for r in config.blob_sizes)
    else:
        low, high = 2 * s, 4 * s
    count = config.num_sigma_max if high > low else 1
    return [float(r) for r in np.geomspace(low, high, count)]


def _given(spots: Sequence[Sequence[float]], image: Image) -> Blobs:
    """Blobs from a configuration: rows of z, y, x in voxels and, where there is one, a score."""
    rows = np.array([list(spot[:4]) + [1.0] * (4 - len(spot)) for spot in spots], dtype=np.float64)
    order = np.argsort(-rows[:, 3], kind="stable")
    return Blobs(image.grid.to_physical(rows[order, :3]), rows[order, 3])


def _search(ours: _Side, theirs: _Side, lead: Affine, config: RansacConfig, sizes: _Sizes, seed: int) -> _Found:
    """The matches and the maps that they support.

    Where nothing is known yet and nothing matches, the moving image is tried with inverted brightness, and turned.
    """
    attempt = functools.partial(_attempt, ours, lead=lead, config=config, threshold=sizes.threshold, seed=seed)
    upright = attempt(theirs, rotation=np.eye(3), most=config.nspots)
    if upright.fits or not np.array_equal(lead.matrix, np.eye(4)):
        return upright
    inside_out = _Side.of(
        theirs.image.negative(), sizes.moving_radii, sizes.context, config, config.mov_spot_detection_kwargs, None
    )
    inverted = attempt(inside_out, rotation=np.eye(3), most=config.nspots)
    if inverted.fits:
        return inverted
    support = []
    for rotation in _rotations(config.max_rotation):
        turned = attempt(theirs, rotation=rotation, most=_SEARCHED, model="similarity")
        support.append((max((int(fit.inliers.sum()) for fit in turned.fits), default=0), rotation))
    count, rotation = max(support, key=lambda entry: entry[0], default=(0, np.eye(3)))
    return attempt(theirs, rotation=rotation, most=config.nspots) if count else upright


def _attempt(
    ours: _Side,
    theirs: _Side,
    *,
    lead: Affine,
    rotation: Floats,
    most: int,
    config: RansacConfig,
    threshold: float,
    seed: int,
    model: str | None = None,
) -> _Found:
    """Match the `most` strongest blobs, with the moving ones' surroundings turned, and fit maps to the matches."""
    near, far = (side.blobs.take(np.arange(min(most, len(side.blobs)))) for side in (ours, theirs))
    far = Blobs(lead.inverse().map_points(far.points), far.strengths)
    pairs = match(
        ours.contexts.around(near.points, Affine.identity(), np.eye(3)),
        theirs.contexts.around(far.points, lead, rotation),
        near,
        far,
        threshold=config.match_threshold,
        ratio=config.match_ratio,
        distance=config.max_spot_match_distance,
    )
    p, q = near.points[pairs[:, 0]], far.points[pairs[:, 1]]
    fits = fit_maps(p, q, threshold, model=model or config.model, confidence=config.confidence, seed=seed)
    return _Found(theirs.image, len(pairs), fits)


def _rotations(most: float) -> Iterator[Floats]:
    """Rotation matrices up to `most` degrees, `_ROTATION_STEP` apart, without the identity."""
    n = int(most / _ROTATION_STEP)
    for index in itertools.product(range(-n, n + 1), repeat=3):
        turn = np.array(index) * _ROTATION_STEP
        if 0 < np.linalg.norm(turn) <= most + 1e-9:
            yield Rotation.from_rotvec(turn, degrees=True).as_matrix()


def fit_maps(
    p: Floats, q: Floats, threshold: float, *, model: str = "affine", confidence: float = 0.999, seed: int = 0
) -> list[_Fit]:
    """Maps p → q of matched points (N, 3) on which more of them agree within `threshold` µm than by chance.

    One fit for `model` and for each simpler one, the richest first; none if the matches do not agree.
    """
    n = len(p)
    if n < _LEAST_INLIERS["rigid"]:
        return []
    proposals = _proposals(p, q, threshold, confidence, np.random.default_rng(seed))
    fits = []
    for name in reversed(_MODELS[: _MODELS.index(model) + 1]):
        refined = [_refine(p, q, matrix, threshold, name) for matrix in proposals]
        good = [fit for fit in refined if fit is not None and _beyond_chance(fit, p, q, threshold, len(proposals))]
        if good:
            fits.append(max(good, key=lambda fit: int(fit.inliers.sum())))
    return fits


def _proposals(p: Floats, q: Floats, threshold: float, confidence: float, rng: np.random.Generator) -> list[Floats]:
    """Similarity maps of three matches each, those on which most matches agree, best first.

    Trials end when, at the inlier share found so far, one without outliers would have come up with this confidence.
    """
    n, tried = len(p), 0
    found: list[tuple[int, Floats]] = []
    most = 0
    while tried < _MOST_TRIALS:
        trios = (
            np.argsort(rng.random((_MOST_TRIALS // 4, n)), axis=1)[:, :3]
            if n <= 64
            else rng.integers(n, size=(_MOST_TRIALS // 4, 3))
        )
        tried += len(trios)
        matrices = _similarities(p[trios], q[trios], threshold)
        if len(matrices):
            mapped = np.einsum("hij,nj->hni", matrices[:, :3, :3], p) + matrices[:, None, :3, 3]
            counts = (((mapped - q) ** 2).sum(axis=2) <= (2 * threshold) ** 2).sum(axis=1)
            order = np.argsort(-counts, kind="stable")[:_REFINED]
            found += [(int(counts[i]), matrices[i]) for i in order]
            most = max(most, int(counts[order[0]]))
        share = (most / n) ** 3
        if share >= 1 or (share > 0 and tried >= math.log(1 - min(confidence, 1 - 1e-9)) / math.log(1 - share)):
            break
    return [matrix for _, matrix in sorted(found, key=lambda entry: -entry[0])[:_REFINED]]


def _similarities(p: Floats, q: Floats, threshold: float) -> Floats:
    """Similarity maps (K, 4, 4) of triples (H, 3, 3) whose triangles are large enough and of like shape."""
    sides_p, sides_q = (np.linalg.norm(a - np.roll(a, 1, axis=1), axis=2) for a in (p, q))
    long = (np.minimum(sides_p, sides_q) > 4 * threshold).all(axis=1)
    alike = (np.abs(np.log(np.maximum(sides_q, 1e-9) / np.maximum(sides_p, 1e-9))) < math.log(1.25)).all(axis=1)
    p, q = p[long & alike], q[long & alike]
    return _kabsch(p, q, scale=True)


def _kabsch(p: Floats, q: Floats, *, scale: bool) -> Floats:
    """Least-squares rotations and shifts, with a scale or without, of point sets (H, N, 3): (H, 4, 4) maps."""
    centre_p, centre_q = p.mean(axis=1), q.mean(axis=1)
    a, b = p - centre_p[:, None], q - centre_q[:, None]
    u, s, vt = np.linalg.svd(np.swapaxes(b, 1, 2) @ a)
    sign = np.ones_like(s)
    sign[:, 2] = np.sign(np.linalg.det(u @ vt))
    rotation = (u * sign[:, None]) @ vt
    if scale:
        size = (s * sign).sum(axis=1) / np.maximum((a**2).sum(axis=(1, 2)), 1e-12)
        rotation = rotation * size[:, None, None]
    maps = np.tile(np.eye(4), (len(p), 1, 1))
    maps[:, :3, :3] = rotation
    maps[:, :3, 3] = centre_q - np.einsum("hij,hj->hi", rotation, centre_p)
    return maps


def _refine(p: Floats, q: Floats, matrix: Floats, threshold: float, model: str) -> _Fit | None:
    """The model fitted again and again to its inliers until they stay the same."""
    least = _LEAST_INLIERS[model]
    inliers = _close(matrix, p, q, 2 * threshold)
    for _ in range(20):
        if inliers.sum() < least:
            return None
        if model == "affine":
            ones = np.c_[p[inliers], np.ones(inliers.sum())]
            solution, _, rank, _ = np.linalg.lstsq(ones, q[inliers])
            if rank < 4:
                return None
            matrix = np.eye(4)
            matrix[:3] = solution.T
        else:
            matrix = _kabsch(p[inliers][None], q[inliers][None], scale=model == "similarity")[0]
        again = _close(matrix, p, q, threshold)
        if np.array_equal(again, inliers):
            break
        inliers = again
    return _Fit(matrix, inliers, model) if inliers.sum() >= least else None


def _close(matrix: Floats, p: Floats, q: Floats, threshold: float) -> NDArray[np.bool_]:
    gap = p @ matrix[:3, :3].T + matrix[:3, 3] - q
    near: NDArray[np.bool_] = (gap**2).sum(axis=1) <= threshold**2
    return near


def _beyond_chance(fit: _Fit, p: Floats, q: Floats, threshold: float, trials: int) -> bool:
    """Whether so many inliers are unlikely for matches whose ends lie anywhere among the moving points."""
    volume = float(np.prod(np.maximum(np.ptp(q, axis=0), 2 * threshold)))
    chance = min(0.5, 4 / 3 * math.pi * threshold**3 / volume)
    free = _LEAST_INLIERS[fit.model] - 1  # matches that a map can be made to fit
    count = int(fit.inliers.sum()) - free
    # scipy.special: scipy.stats takes a second to import, in every process.
    return bool(bdtrc(count - 1, len(p), chance) * _MOST_TRIALS * trials < _CHANCE) if count > 0 else False
