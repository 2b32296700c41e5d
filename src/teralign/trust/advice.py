"""Advice: what the measurements of an alignment say of its likely fault, and which option to try.

Each rule looks at few numbers and gives one sentence. The thresholds come from pairs whose truth is known: linear
maps of good ones stretch by less than 1.19 (0.17 in the logarithm), and only 2 of 58 good ones, but 34 of 37 wrong
ones, had no start that blobs agree on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from teralign.grids import Floats, FloatTriple, Grid
from teralign.registration import StepReport
from teralign.transforms import Stack
from teralign.trust.assessment import Advice, Verdict
from teralign.trust.symptoms import Symptoms
from teralign.trust.trials import Remedy, option_value

_STRETCH = 0.25  # of the logarithm of a stretch
_FEW_BLOBS = 60
_LITTLE_OVERLAP = 0.25  # of the fixed volume
_SMALL_JACOBIAN = 0.1  # far below the bound of the engine
_SMALL_GAIN = 0.02  # of the metric, which a deformation of noise gains too
_SMOOTHER, _ROUGHER = 4.0, 1.0  # voxels of smoothness: twice the usual, and half
_MOSTLY = 0.5  # of the blocks
_SHARED, _DRIFT = 0.4, 1.2  # part of the offsets that neighbours share, and voxels of the overview: seen on one scene
_ALIKE = 0.5  # correlation of coarse brightness; two tissues of one scene had 0.1
_PATTERN = 0.3  # correlation of planes; without a pattern another shift wins
_POINTS = 8  # along each axis, where a map is looked at


@dataclass(frozen=True)
class Clues:
    """The measurements that advice rests on.

    `transform` is the whole map from fixed to moving points, along the axes of the volumes, and `spacing` the voxel
    size (z, y, x) in µm of the moving volume as an option would state it. `started` tells whether transforms were
    given; `steps` are the reports of the steps, and `blocks` the number of blocks by state, where there are some.
    `min_jacobian` is the least determinant of the field, and `gain` what it adds to the metric;
    `symptoms` are of the images, where the alignment is not good.
    """

    verdict: Verdict
    transform: Stack
    fixed: Grid
    moving: Grid
    spacing: FloatTriple
    started: bool = False
    steps: Sequence[StepReport] = ()
    blocks: Mapping[str, int] | None = None
    min_jacobian: float | None = None
    gain: float | None = None
    symptoms: Symptoms | None = None

    def points(self) -> tuple[Floats, Floats]:
        """Return points (n, 3) spread over the fixed grid, and where the map takes them."""
        low, high = self.fixed.corners()[0], self.fixed.corners()[-1]
        axes = [np.linspace(a, b, _POINTS) for a, b in zip(low, high, strict=True)]
        points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
        return points, self.transform.map_points(points)

    def linear(self) -> Floats:
        """Return the linear part (3, 3) of the affine map that is closest to the whole one."""
        points, mapped = self.points()
        centred = points - points.mean(axis=0)
        fitted: Floats = np.linalg.lstsq(centred, mapped - mapped.mean(axis=0), rcond=None)[0].T
        return fitted

    def overlap(self) -> float:
        """Return the share of the fixed volume that lies inside the moving one."""
        _, mapped = self.points()
        index = self.moving.to_index(mapped)
        inside = np.all((index >= -0.5) & (index <= np.array(self.moving.shape) - 0.5), axis=1)
        return float(inside.mean())

    def smoothness(self, voxels: float) -> str:
        """Return a smoothness of so many voxels of the fixed grid, in µm as the configuration takes it."""
        return f"{voxels * math.prod(self.fixed.spacing) ** (1 / 3):.2g}"

    def detail(self, name: str) -> float | None:
        """Return a number that the step ransac reported, or None."""
        for step in self.steps:
            value = step.details.get(name) if step.name == "ransac" else None
            if isinstance(value, int | float):
                return value
        return None


def advise(clues: Clues) -> list[Advice]:
    """Return what the measurements say, most likely first; of a good alignment only what may surprise."""
    rules = _ALWAYS if clues.verdict is Verdict.GOOD else (*_ALWAYS, *_NOT_GOOD)
    return [advice for rule in rules for advice in rule(clues)]


def advice_of(remedy: Remedy, spacing: FloatTriple) -> Advice:
    """Return the advice of a trial that aligned the images; `spacing` (z, y, x) is the moving one's in µm."""
    trial, found = remedy.trial, remedy.assessment
    seen = f"{found.confirmed} of {found.examined} blocks then agree"
    if trial.turn is None:
        value = option_value(spacing, trial.factors)
        sentence = f"The {trial.what} of one of the volumes is wrong: --moving-spacing {value} would do ({seen})."
        return Advice("voxel size", sentence, "--moving-spacing", value)
    rows = "; ".join(" ".join(f"{v:.6g}" for v in row) for row in remedy.start.matrix)
    sentence = (
        f"The moving volume is {trial.what}: start from that map ({seen}), with these rows as the lines of start.mat "
        f"for --initial-transform: {rows}."
    )
    return Advice(trial.what, sentence, "--initial-transform", rows)


def unlike(symptoms: Symptoms | None = None) -> Advice:
    """Return the advice where no trial aligns images that have structure enough."""
    tried = "No voxel size, mirror or quarter turn that was tried aligns the volumes"
    coarse = None if symptoms is None else symptoms.coarse
    if coarse is not None and abs(coarse) > _ALIKE:
        return Advice(
            "another channel, or other tissue",
            f"{tried}, but their coarse brightness agrees (correlation {coarse:.2f}): another channel or stain of "
            "the same tissue, or other tissue of the same outline; choose channels that show the same "
            "(--fixed-channel, --moving-channel).",
            "--moving-channel",
        )
    return Advice(
        "different structures",
        f"{tried}{'' if coarse is None else ', and their coarse brightness does not agree either'}: other tissue, "
        "another place of it, or a start out of reach; check that both show the same "
        "stain in these channels (--fixed-channel, --moving-channel).",
        "--moving-channel",
    )


def _stretched(clues: Clues) -> Iterator[Advice]:
    """Yield the advice for a map that stretches or shrinks an axis by much."""
    lengths = np.linalg.norm(clues.linear(), axis=0)
    stretch = {axis: float(length) for axis, length in zip("zyx", lengths, strict=True)}
    far = {axis: s for axis, s in stretch.items() if abs(np.log(max(s, 1e-9))) > _STRETCH}
    if not far:
        return
    factors = tuple(1 / s if axis in far else 1.0 for axis, s in stretch.items())
    value = option_value(clues.spacing, (factors[0], factors[1], factors[2]))
    seen = ", ".join(f"{axis} by {s:.2f}" for axis, s in far.items())
    yield Advice(
        "voxel size",
        f"The map stretches the fixed volume along {seen}: check the voxel sizes and the expansion (if the moving "
        f"one is wrong, --moving-spacing {value}).",
        "--moving-spacing",
        value,
    )


def _mirrored(clues: Clues) -> Iterator[Advice]:
    """Yield the advice for a map that mirrors."""
    if np.linalg.det(clues.linear()) < 0:
        yield Advice(
            "mirrored", "The map mirrors the volume: check the order of the slices and the axes of the files."
        )


def _squeezed(clues: Clues) -> Iterator[Advice]:
    """Yield the advice for a field that folds or nearly does.

    Small determinants of pairs that are aligned are noise, or lie where the field ends at the edge of a box, and more
    smoothing costs detail. Only a field that gains nothing by its bending needs that.
    """
    least, gain = clues.min_jacobian, clues.gain
    if least is None or least >= _SMALL_JACOBIAN:
        return
    seen = (
        f"The field {'folds somewhere' if least <= 0 else f'squeezes space to {least:.2f} of its volume somewhere'}"
    )
    if gain is not None and gain < _SMALL_GAIN:
        value = clues.smoothness(_SMOOTHER)
        yield Advice(
            "smoothing too weak",
            f"{seen}, but the metric gains {gain:.3f} only, so it follows noise: smooth more (deform: smoothness: "
            f"{value} in the configuration), or leave the deformation out.",
            "--config",
            f"deform: {{smoothness: {value}}}",
        )
    else:
        yield Advice(
            "squeezed",
            f"{seen}, which noise and the edge of a box do and tissue seldom does: see in the report's map of the "
            "Jacobian where. In tissue keep min_jacobian of deform at its default or above; smoothing costs detail.",
        )


def _few_blobs(clues: Clues) -> Iterator[Advice]:
    """Yield the advice for an image without features."""
    for role in ("fixed", "moving"):
        found = clues.detail(f"{role}_blobs")
        if found is not None and found < _FEW_BLOBS:
            yield Advice(
                "too few features",
                f"Only {found:.0f} blobs were found in the {role} volume: choose a channel with more structure "
                f"(--{role}-channel), a finer scale, or blob_radii in the configuration.",
                f"--{role}-channel",
            )


def _little_overlap(clues: Clues) -> Iterator[Advice]:
    """Yield the advice for volumes that hardly overlap."""
    overlap = clues.overlap()
    if overlap < _LITTLE_OVERLAP:
        yield Advice(
            "little overlap",
            f"Only {overlap:.0%} of the fixed volume lies inside the moving one after the map: give the common part "
            "(--fixed-roi, --moving-roi), or a rough start (--initial-transform).",
            "--fixed-roi",
        )


def _no_start(clues: Clues) -> Iterator[Advice]:
    """Yield the advice for a search that found no start, where none was given."""
    if not clues.started and any(step.name == "ransac" and step.state == "kept" for step in clues.steps):
        yield Advice(
            "start out of reach",
            "No start was found from the blobs of both volumes: give a rough one (--initial-transform), or let "
            "ransac search further (max_rotation_degrees: 91 and diagonal_constraint: null in its section).",
            "--initial-transform",
        )


def _kept(clues: Clues) -> Iterator[Advice]:
    """Yield the advice for blocks of which most keep their start."""
    worked = {state: n for state, n in (clues.blocks or {}).items() if state in ("ok", "kept", "outlier", "failed")}
    kept = worked.get("kept", 0)
    if kept > _MOSTLY * sum(worked.values()):
        value = clues.smoothness(_ROUGHER)
        yield Advice(
            "start out of reach, or smoothing too strong",
            f"{kept} of {sum(worked.values())} blocks found nothing better than their start: improve the start, or, "
            f"if it is right, let the field bend more (deform: smoothness: {value} in the configuration).",
            "--config",
            f"deform: {{smoothness: {value}}}",
        )


def _off(clues: Clues) -> Iterator[Advice]:
    """Yield the advice for blocks that lie off the map like those beside them."""
    drift = None if clues.symptoms is None else clues.symptoms.drift
    if drift is None or drift.shared < _SHARED or drift.voxels < _DRIFT:
        return
    if math.hypot(*drift.middle) > _MOSTLY * drift.um:
        shift = ", ".join(f"{v:.3g}" for v in drift.middle)
        yield Advice(
            "shifted",
            f"Most structures agree off the map by the same {shift} µm (z, y, x in the fixed volume): the start is "
            "wrong by that (--initial-transform).",
            "--initial-transform",
        )
    elif clues.transform.affine is None:
        value = clues.smoothness(_ROUGHER)
        yield Advice(
            "smoothing too strong",
            f"Whole regions agree off the map by about {drift.um:.2g} µm: let the field bend more (deform: "
            f"smoothness: {value} in the configuration), or the start is too far off there "
            "for the deformation to reach.",
            "--config",
            f"deform: {{smoothness: {value}}}",
        )
    else:
        yield Advice(
            "tissue that bends",
            f"Whole regions agree off the linear map by about {drift.um:.2g} µm, each its own way: the tissue bends, "
            "so find a deformation too (local-align, or the step deform).",
        )


def _pattern(clues: Clues) -> Iterator[Advice]:
    """Yield the advice for a pattern that both images have at equal voxels."""
    pattern = None if clues.symptoms is None else clues.symptoms.pattern
    if pattern is not None and pattern > _PATTERN:
        yield Advice(
            "pattern of the camera",
            f"Planes of different depth agree at equal voxels (correlation {pattern:.2f}), as no tissue does: the "
            "camera puts a pattern into both volumes, which passes for structure; correct both by a dark and a flat "
            "field first.",
        )


_Rule = Callable[[Clues], Iterator[Advice]]
_ALWAYS: tuple[_Rule, ...] = (_stretched, _mirrored, _squeezed)
_NOT_GOOD: tuple[_Rule, ...] = (_few_blobs, _little_overlap, _no_start, _kept, _off, _pattern)
