"""`ransac`: blobs of both images, matched by their surroundings, and a linear map that many matches agree on.

Trials of three matches each propose similarity maps. The maps with most matches within the threshold are refined on
their inliers, as the configured model and as simpler models; the map under which the images agree best is taken.
Lengths that the configuration leaves open are chosen from the image: the voxel size s at which the images have two
million voxels gives blobs of 2 s to 4 s, contexts of 8 s and a threshold of 3 s.
"""

from __future__ import annotations

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
from teralign.registration.steps import StepContext, StepResult, accepted_if_better, kept
from teralign.transforms import Affine

_VOXELS = 2_000_000  # at which cells of tissue sections are a few voxels across
_MAX_TRIALS = 4000  # enough for an inlier share of 0.12, at the default confidence of 0.999
_REFINED = 8  # proposals
_ROTATION_STEP = 17.5  # degrees; contexts still match when turned by half of that
_SEARCHED = 600  # blobs of each image in the search over rotations
_CHANCE = 1e-4  # the greatest probability that a set of inliers is chance
_MAX_STRETCH = 1.25  # of a side of a triangle of blobs: rounds of one tissue swell and shrink by less
_MODELS = ("rigid", "similarity", "affine")
_MIN_INLIERS = {"rigid": 4, "similarity": 5, "affine": 8}


@dataclass(frozen=True)
class _Sizes:
    """Lengths in µm: blob radii of both images, reach of contexts, largest residual of an inlier, and thickness.

    The thickness (z, y, x) is that of the thinner image.
    """

    fixed_radii: Sequence[float]
    moving_radii: Sequence[float]
    context: float | Floats
    threshold: float
    thickness: Floats


@dataclass(frozen=True)
class _Fit:
    """A (4, 4) map, (z, y, x) µm, and the matches that agree with it."""

    matrix: Floats
    inliers: NDArray[np.bool_]
    model: str


@dataclass(frozen=True)
class _ImageBlobs:
    """An image, its blobs, strongest first, and the surroundings of any place in it."""

    image: Image
    blobs: Blobs
    contexts: Contexts

    @classmethod
    def of(
        cls,
        image: Image,
        radii: Sequence[float],
        sizes: _Sizes,
        count: int,
        detection: SpotDetection,
        given: Sequence[Sequence[float]] | None = None,
    ) -> _ImageBlobs:
        """Find the `count` strongest blobs with these radii (µm), or take the rows of a configuration."""
        if given:
            blobs = _given(given, image)
        else:
            limit, clip = detection.threshold_rel, detection.winsorize_limits
            blobs = find_blobs(image, radii, count=count, min_strength=limit, clip=clip)
        return cls(image, blobs, Contexts.of(image, sizes.context, sizes.thickness))

    def __len__(self) -> int:
        return len(self.blobs)


@dataclass(frozen=True)
class _Matched:
    """The moving image, as it is or as its negative, the number of blobs that match, and the maps they support."""

    moving: Image
    matches: int
    fits: Sequence[_Fit]


def ransac(fixed: Image, moving: Image, config: RansacConfig, context: StepContext) -> StepResult:
    """Find the linear map that most matches of blobs support, and accept it if the images then agree better.

    The metric is the mean correlation in windows. If nothing matches and there is no initial transform, rotations up
    to `max_rotation_degrees` are tried.
    """
    moving, initial = through_fields(fixed, moving, context)
    if config.alignment_spacing is not None:
        fixed, moving = (image.downsample_to(config.alignment_spacing) for image in (fixed, moving))
    sizes = _sizes(fixed, moving, config)
    fixed_blobs = _ImageBlobs.of(
        fixed, sizes.fixed_radii, sizes, config.nspots, config.fix_spot_detection_kwargs, config.fix_spots
    )
    moving_blobs = _ImageBlobs.of(
        moving, sizes.moving_radii, sizes, config.nspots, config.mov_spot_detection_kwargs, config.mov_spots
    )
    details = {"fixed_blobs": len(fixed_blobs), "moving_blobs": len(moving_blobs)}
    for role, found, threshold in (
        ("fixed", fixed_blobs, config.fix_spots_count_threshold),
        ("moving", moving_blobs, config.mov_spots_count_threshold),
    ):
        needed = max(threshold, 3)  # three points fix a rigid map
        if len(found) < needed:
            return kept(f"only {len(found)} blobs in the {role} image, {needed} are needed", **details)
    search = _BlobSearch(fixed_blobs, initial, config, sizes, context.seed)
    matched = search.run(moving_blobs)
    details["matches"] = matched.matches
    if matched.matches < config.point_matches_threshold:
        return kept(f"only {matched.matches} blobs match, {config.point_matches_threshold} are needed", **details)
    if not matched.fits:
        return kept(f"the {matched.matches} matches of blobs agree on no map", **details)
    return _judge(fixed, matched.moving, initial, matched.fits, config, details)


def _judge(
    fixed: Image, moving: Image, initial: Affine, fits: Sequence[_Fit], config: RansacConfig, details: dict[str, int]
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
    before = windows.score(initial)
    scores = [windows.score(initial @ Affine(fit.matrix)) for fit in allowed]
    best = int(np.argmax([s if math.isfinite(s) else -math.inf for s in scores]))
    fit = allowed[best]
    inliers = int(fit.inliers.sum())
    return accepted_if_better(Affine(fit.matrix), before, scores[best], **details, inliers=inliers, model=fit.model)


def _sizes(fixed: Image, moving: Image, config: RansacConfig) -> _Sizes:
    """Return the configuration's lengths, in µm; the voxel size of the images gives those left open."""
    s = max(spacing_for(image.grid, _VOXELS) for image in (fixed, moving))
    radii = [_radii(config, image.grid, s) for image in (fixed, moving)]
    context: float | Floats = 8 * s
    if config.context_radius is not None:
        context = config.context_radius
    elif config.cc_radius is not None:
        context = np.broadcast_to(config.cc_radius, 3) * np.array(fixed.grid.spacing)
    thickness = np.minimum(fixed.grid.extent, moving.grid.extent)
    return _Sizes(radii[0], radii[1], context, config.align_threshold or 3 * s, thickness)


def _radii(config: RansacConfig, grid: Grid, s: float) -> list[float]:
    """Return the blob radii to look for in µm, ascending; blob_sizes are voxels of this image."""
    if config.blob_radii is not None:
        low, high = (float(np.mean(r)) for r in config.blob_radii)
    elif config.blob_sizes is not None:
        low, high = (float(np.mean(np.multiply(r, grid.spacing))) for r in config.blob_sizes)
    else:
        low, high = 2 * s, 4 * s
    count = config.num_sigma_max if high > low else 1
    return [float(r) for r in np.geomspace(low, high, count)]


def _given(spots: Sequence[Sequence[float]], image: Image) -> Blobs:
    """Return the blobs of a configuration: rows of z, y, x in voxels and, optionally, a score."""
    rows = np.array([list(spot[:4]) + [1.0] * (4 - len(spot)) for spot in spots], dtype=np.float64)
    order = np.argsort(-rows[:, 3], kind="stable")
    return Blobs(image.grid.to_physical(rows[order, :3]), rows[order, 3])


@dataclass(frozen=True)
class _BlobSearch:
    """The search for matches with the blobs of the fixed image, and for the maps that the matches support."""

    fixed: _ImageBlobs
    initial: Affine
    config: RansacConfig
    sizes: _Sizes
    seed: int

    def run(self, moving: _ImageBlobs) -> _Matched:
        """Match the blobs of the moving image.

        Without an initial transform, and if nothing matches, also try its negative, and rotations.
        """
        config, sizes, upright = self.config, self.sizes, np.eye(3)
        found = self._attempt(moving, upright, config.nspots, config.model)
        if found.fits or not np.array_equal(self.initial.matrix, np.eye(4)):
            return found
        negative = _ImageBlobs.of(
            moving.image.negative(),
            sizes.moving_radii,
            sizes,
            config.nspots,
            config.mov_spot_detection_kwargs,
        )
        inverted = self._attempt(negative, upright, config.nspots, config.model)
        if inverted.fits:
            return inverted
        support = []
        for rotation in _rotations(config.max_rotation_degrees):
            turned = self._attempt(moving, rotation, _SEARCHED, "similarity")
            support.append((max((int(fit.inliers.sum()) for fit in turned.fits), default=0), rotation))
        count, rotation = max(support, key=lambda entry: entry[0], default=(0, upright))
        return self._attempt(moving, rotation, config.nspots, config.model) if count else found

    def _attempt(self, moving: _ImageBlobs, rotation: Floats, count: int, model: str) -> _Matched:
        """Match the `count` strongest blobs, the moving ones' surroundings turned, and fit maps to the matches."""
        config, initial = self.config, self.initial
        fixed_blobs, moving_blobs = (
            side.blobs.take(np.arange(min(count, len(side)))) for side in (self.fixed, moving)
        )
        moving_blobs = Blobs(initial.inverse().map_points(moving_blobs.points), moving_blobs.strengths)
        pairs = match(
            self.fixed.contexts.around(fixed_blobs.points, Affine.identity(), np.eye(3)),
            moving.contexts.around(moving_blobs.points, initial, rotation),
            fixed_blobs,
            moving_blobs,
            threshold=config.match_threshold,
            ratio=config.match_ratio,
            distance=config.max_spot_match_distance,
        )
        p, q = fixed_blobs.points[pairs[:, 0]], moving_blobs.points[pairs[:, 1]]
        threshold, confidence = self.sizes.threshold, config.confidence
        fits = fit_maps(p, q, threshold, model=model, confidence=confidence, seed=self.seed)
        return _Matched(moving.image, len(pairs), fits)


def _rotations(limit: float) -> Iterator[Floats]:
    """Yield the rotation matrices up to `limit` degrees, `_ROTATION_STEP` apart, without the identity."""
    n = int(limit / _ROTATION_STEP)
    for index in itertools.product(range(-n, n + 1), repeat=3):
        turn = np.array(index) * _ROTATION_STEP
        if 0 < np.linalg.norm(turn) <= limit + 1e-9:
            yield Rotation.from_rotvec(turn, degrees=True).as_matrix()


def fit_maps(
    p: Floats, q: Floats, threshold: float, *, model: str = "affine", confidence: float = 0.999, seed: int = 0
) -> list[_Fit]:
    """Fit maps p → q of matched points (N, 3) µm on which more of them agree within `threshold` µm than by chance.

    Returns a fit for `model` and for each simpler model, the richest first; none if the matches do not agree.
    """
    n = len(p)
    if n < _MIN_INLIERS["rigid"]:
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
    """Return similarity maps of three matches each, those on which most matches agree, best first.

    Trials end when, at the inlier share found so far, a trial without outliers has been made with this confidence.
    """
    n, tried = len(p), 0
    found: list[tuple[int, Floats]] = []
    best = 0
    while tried < _MAX_TRIALS:
        trios = (
            np.argsort(rng.random((_MAX_TRIALS // 4, n)), axis=1)[:, :3]
            if n <= 64
            else rng.integers(n, size=(_MAX_TRIALS // 4, 3))
        )
        tried += len(trios)
        matrices = _similarities(p[trios], q[trios], threshold)
        if len(matrices):
            mapped = np.einsum("hij,nj->hni", matrices[:, :3, :3], p) + matrices[:, None, :3, 3]
            counts = (((mapped - q) ** 2).sum(axis=2) <= (2 * threshold) ** 2).sum(axis=1)
            order = np.argsort(-counts, kind="stable")[:_REFINED]
            found += [(int(counts[i]), matrices[i]) for i in order]
            best = max(best, int(counts[order[0]]))
        share = (best / n) ** 3
        if share >= 1 or (share > 0 and tried >= math.log(1 - min(confidence, 1 - 1e-9)) / math.log(1 - share)):
            break
    return [matrix for _, matrix in sorted(found, key=lambda entry: -entry[0])[:_REFINED]]


def _similarities(p: Floats, q: Floats, threshold: float) -> Floats:
    """Return similarity maps (K, 4, 4) of triples (H, 3, 3) whose triangles are large enough and of similar shape."""
    sides_p, sides_q = (np.linalg.norm(a - np.roll(a, 1, axis=1), axis=2) for a in (p, q))
    long = (np.minimum(sides_p, sides_q) > 4 * threshold).all(axis=1)
    stretch = np.abs(np.log(np.maximum(sides_q, 1e-9) / np.maximum(sides_p, 1e-9)))
    alike = (stretch < math.log(_MAX_STRETCH)).all(axis=1)
    p, q = p[long & alike], q[long & alike]
    return _kabsch(p, q, scale=True)


def _kabsch(p: Floats, q: Floats, *, scale: bool) -> Floats:
    """Return least-squares rotations and shifts, with a scale or without, of point sets (H, N, 3): (H, 4, 4) maps.

    Kabsch: A solution for the best rotation to relate two sets of vectors, 1976. Umeyama: Least-squares estimation of
    transformation parameters between two point patterns, 1991.
    """
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
    """Fit the model to its inliers until they stay the same; None without enough of them."""
    min_inliers = _MIN_INLIERS[model]
    inliers = _close(matrix, p, q, 2 * threshold)
    for _ in range(20):
        if inliers.sum() < min_inliers:
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
    return _Fit(matrix, inliers, model) if inliers.sum() >= min_inliers else None


def _close(matrix: Floats, p: Floats, q: Floats, threshold: float) -> NDArray[np.bool_]:
    gap = p @ matrix[:3, :3].T + matrix[:3, 3] - q
    within: NDArray[np.bool_] = (gap**2).sum(axis=1) <= threshold**2
    return within


def _beyond_chance(fit: _Fit, p: Floats, q: Floats, threshold: float, trials: int) -> bool:
    """Return whether so many inliers are unlikely for matches whose ends lie anywhere among the moving points."""
    volume = float(np.prod(np.maximum(np.ptp(q, axis=0), 2 * threshold)))
    chance = min(0.5, 4 / 3 * math.pi * threshold**3 / volume)
    free = _MIN_INLIERS[fit.model] - 1  # matches that a map can be made to fit
    count = int(fit.inliers.sum()) - free
    # scipy.special: scipy.stats takes a second to import, in every process.
    return bool(bdtrc(count - 1, len(p), chance) * _MAX_TRIALS * trials < _CHANCE) if count > 0 else False
