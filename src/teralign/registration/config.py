"""The parameters of the steps of an alignment: one strict, frozen model a step.

Lengths are µm unless a key says voxels; all triples are (z, y, x). `teralign.configuration` makes these models from a
file or a mapping.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, TypeAlias, TypeGuard

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field


def _number(value: object) -> object:
    """Return the number that a text such as 1e-4 stands for: YAML 1.1 reads it, without a dot, as text."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _engine(value: object) -> object:
    """Return the name of an engine; `greedy` is what gauss_newton was called first."""
    return "gauss_newton" if value == "greedy" else value


def _none_is(default: float) -> BeforeValidator:
    """Return a validator that reads None, YAML's null, as `default`."""
    return BeforeValidator(lambda value: default if value is None else value)


def _filled(value: object) -> object:
    """Return None for an empty list: no levels are given."""
    return None if value in ([], ()) else value


def _order(pair: tuple[Any, Any]) -> tuple[Any, Any]:
    low, high = (min(v) if isinstance(v, tuple) else v for v in pair)
    if low > high:
        raise ValueError("should be a smallest and a largest size, in this order")
    return pair


def _square(matrix: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(matrix) != 4:
        raise ValueError("should be a matrix of four rows of four numbers")
    return matrix


Number: TypeAlias = Annotated[float, BeforeValidator(_number), Field(strict=True, allow_inf_nan=False)]
Positive: TypeAlias = Annotated[Number, Field(gt=0)]
NonNegative: TypeAlias = Annotated[Number, Field(ge=0)]
Share: TypeAlias = Annotated[Number, Field(ge=0, le=1)]
Count: TypeAlias = Annotated[int, Field(strict=True, ge=1)]
CountOrZero: TypeAlias = Annotated[int, Field(strict=True, ge=0)]
PerAxis: TypeAlias = tuple[Positive, Positive, Positive]
Limits: TypeAlias = NonNegative | tuple[NonNegative, NonNegative, NonNegative]
SizeRange: TypeAlias = Annotated[tuple[Positive | PerAxis, Positive | PerAxis], AfterValidator(_order)]
Levels: TypeAlias = Annotated[tuple[Count, ...] | None, BeforeValidator(_filled)]
Metric: TypeAlias = Literal["LNCC", "ANC", "C", "D", "JHMI", "MMI", "MS"]
Objective: TypeAlias = Literal["lncc", "ncc", "mse", "mi"]
MatrixRow: TypeAlias = tuple[Number, Number, Number, Number]
Matrix: TypeAlias = Annotated[tuple[MatrixRow, ...], AfterValidator(_square)]


_SHRINK_FACTORS, _ITERATIONS = (4, 2, 1), (15, 10, 6)  # a fourth level, of 8, gained nothing on made pairs
_REFINING = 0.5  # of the default iterations after a coarser stage: all of them gain 0.006 µm in a third more time
USUAL_WINDOW = 12  # voxels along the edge of a window: three control points across
_CELLS_WINDOW = 18.0  # µm: a window should hold some cells, which small voxels resolve but do not fill
_MAX_WINDOW = 20  # voxels: wider ones lose accuracy, 0.150 instead of 0.124 µm on a made pair

_OBJECTIVES: Mapping[Metric, Objective] = {
    "LNCC": "lncc",
    "ANC": "lncc",
    "C": "ncc",
    "MS": "mse",
    "D": "mse",
    "MMI": "mi",
    "JHMI": "mi",
}


class Section(BaseModel):
    """A mapping of keys to values, in which only known keys may stand."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class StepConfig(Section):
    """The parameters of one step."""

    name: ClassVar[str]


class SpotDetection(Section):
    """The detection of blobs in one image."""

    threshold_rel: Share = 0.01
    winsorize_limits: tuple[Share, Share] | None = (0.001, 0.001)


class RansacConfig(StepConfig):
    """Match blobs by their surroundings, and fit a map robustly."""

    name: ClassVar[str] = "ransac"
    model: Literal["rigid", "similarity", "affine"] = "affine"
    blob_radii: SizeRange | None = None
    blob_sizes: SizeRange | None = None
    num_sigma_max: Count = 4
    nspots: Count = 1500
    fix_spots_count_threshold: CountOrZero = 20
    mov_spots_count_threshold: CountOrZero = 20
    fix_spot_detection_kwargs: SpotDetection = SpotDetection()
    mov_spot_detection_kwargs: SpotDetection = SpotDetection()
    fix_spots: tuple[tuple[Number, ...], ...] | None = None
    mov_spots: tuple[tuple[Number, ...], ...] | None = None
    alignment_spacing: Positive | PerAxis | None = None
    context_radius: Positive | None = None
    cc_radius: Positive | PerAxis | None = None
    match_threshold: Share = 0.6
    match_ratio: Share = 0.9
    max_spot_match_distance: Positive | None = None
    max_rotation_degrees: NonNegative = 35.0
    point_matches_threshold: CountOrZero = 8
    align_threshold: Positive | None = None
    confidence: Share = 0.999
    diagonal_constraint: NonNegative | None = 0.35


class MetricConfig(StepConfig):
    """The metric of a step, and the search that improves it; each step names the metrics it knows."""

    alignment_spacing: Positive | PerAxis | None = None
    shrink_factors: Levels = None
    smooth_sigmas: tuple[NonNegative, ...] | None = None
    metric: Metric | None
    metric_args: Mapping[str, Number] = {}
    optimizer: Literal["A", "CGLS", "E", "GD", "GDLS", "LBFGS2", "LBFGSB", "OPOE", "P", "RSGD"] = "RSGD"
    optimizer_args: Mapping[str, Annotated[Any, BeforeValidator(_number)]] = {}
    exhaustive_step_sizes: tuple[NonNegative, ...] | None = None
    sampling: Literal["NONE", "REGULAR", "RANDOM"] | None = None
    sampling_percentage: Annotated[Number, Field(gt=0, le=1)] | None = None
    interpolator: Literal["0", "1", "CBS", "G", "LG", "HWS", "CWS", "WWS", "LWS", "BWS"] = "1"


class LinearConfig(MetricConfig):
    """Optimise a linear map, coarse to fine."""

    metric: Metric = "LNCC"
    initial_condition: Literal["CENTER", "FFT", "IDENTITY"] | Matrix | None = None


class RigidConfig(LinearConfig):
    """Optimise a rotation and a translation."""

    name: ClassVar[str] = "rigid"


class AffineConfig(LinearConfig):
    """Optimise any linear map."""

    name: ClassVar[str] = "affine"


class RandomConfig(StepConfig):
    """Search among random affine maps."""

    name: ClassVar[str] = "random"
    random_iterations: Count = 1000
    nreturn: Count = 10
    max_translation: Limits | None = None
    max_rotation_degrees: Limits | None = 11.459155902616464  # 0.2 radians
    max_scale: Limits | None = 1.05
    max_shear: Limits | None = None
    alignment_spacing: Positive | PerAxis | None = None


class DeformConfig(MetricConfig):
    """Optimise a smooth displacement field, by Gauss–Newton steps or by SimpleITK's B-spline.

    A length of None follows from the voxels; `metric` None is LNCC for gauss_newton and MMI for simpleitk;
    `shrink_factors` and `iterations` None are those of `levels` for gauss_newton, and one level for simpleitk. With
    local correlation as the metric, a smoothness of None goes on to what the images support. A coarser level has as
    many times larger control points and windows, and a field smoother by `smoothness_growth`.
    """

    name: ClassVar[str] = "deform"

    engine: Annotated[Literal["gauss_newton", "simpleitk"], BeforeValidator(_engine)] = "gauss_newton"
    metric: Metric | None = None
    control_point_spacing: Positive | None = None
    control_point_levels: Annotated[tuple[Count, ...], Field(min_length=1)] = (1,)
    iterations: Levels = None
    window: Positive | None = None
    smoothness: Positive | None = None
    # A strong emphasis loses 0.003 µm on made pairs and 0.006 of local correlation on a real one.
    foreground_emphasis: Annotated[Share, _none_is(0.25)] = 0.25
    # Voxels: the images are linearised, which holds about as far as a voxel.
    max_step: Annotated[Positive, _none_is(1.0)] = 1.0
    # Far above 0, since blending blocks and composing with a start squeeze space further. Tissue is not squeezed to
    # less than a third: at 0.1 the metric gains nothing, and made pairs lose.
    min_jacobian: Annotated[Share, _none_is(0.3)] = 0.3
    # In units of the metric, which is of the order of 1.
    tolerance: Annotated[Positive, _none_is(2e-5)] = 2e-5

    @property
    def objective(self) -> Objective:
        """The metric as the engine gauss_newton knows it."""
        return _OBJECTIVES[self.metric or "LNCC"]

    @property
    def levels(self) -> tuple[tuple[int, int], ...]:
        """The levels of gauss_newton, coarse to fine: shrink factor, and the most iterations."""
        if self.shrink_factors is None:
            return tuple(zip(_SHRINK_FACTORS, self.iterations or _ITERATIONS, strict=True))
        iterations = self.iterations or tuple(10 if factor > 1 else 5 for factor in self.shrink_factors)
        return tuple(zip(self.shrink_factors, iterations, strict=True))

    def at_stage(self, coarser: int, *, previous: int | None = None) -> DeformConfig:
        """Return the step for a stage that samples the volume `coarser` times coarser than the finest stage does.

        Lengths are given for the finest stage, and grow as for a coarser level. After a stage `previous` times
        coarser (None: this is the first stage), the levels of that stage are left out, and half the default
        iterations are enough.
        """
        lengths = {"control_point_spacing": coarser, "window": coarser, "smoothness": smoothness_growth(coarser)}
        values: dict[str, object] = {
            name: factor * getattr(self, name) for name, factor in lengths.items() if getattr(self, name) is not None
        }
        if previous is not None:
            factors, iterations = self.shrink_factors, self.iterations
            if factors is None:
                factors = _SHRINK_FACTORS
                iterations = iterations or tuple(math.ceil(_REFINING * n) for n in _ITERATIONS)
            ratio = previous // coarser
            first = next((i for i, factor in enumerate(factors) if factor < ratio), len(factors) - 1)
            values["shrink_factors"] = factors[first:]
            values["iterations"] = None if iterations is None else iterations[first:]
        return self.model_copy(update=values)

    def with_window_for(self, voxel: float) -> DeformConfig:
        """Return the step with a window; by default it holds some cells even if the edge `voxel` (µm) is small."""
        if self.window is not None:
            return self
        window = min(max(_CELLS_WINDOW, USUAL_WINDOW * voxel), _MAX_WINDOW * voxel)
        return self.model_copy(update={"window": window})


def smoothness_growth(coarser: float) -> float:
    """Return the factor by which a deformation is smoother at a level `coarser` times coarser.

    It is a little more than the factor of the voxels (exponent 1): coarse levels find large, smooth deformations.
    """
    return float(coarser**1.25)


def is_gauss_newton(step: StepConfig) -> TypeGuard[DeformConfig]:
    """Return whether a step is `deform` with the engine gauss_newton, which has stages."""
    return isinstance(step, DeformConfig) and step.engine == "gauss_newton"


STEP_MODELS: Mapping[str, type[StepConfig]] = {
    model.name: model for model in (RansacConfig, RandomConfig, RigidConfig, AffineConfig, DeformConfig)
}
"""The steps by name."""
