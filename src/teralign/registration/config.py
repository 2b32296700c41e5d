"""The parameters of the steps of an alignment: one strict, frozen model a step.

Lengths are µm unless a key says voxels; all triples are (z, y, x). How a file or a mapping becomes these models is
`teralign.configuration`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field


def _number(value: object) -> object:
    """Return the number that a text such as 1e-4 stands for: YAML 1.1 reads it, without a dot, as text."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


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
Metric: TypeAlias = Literal["LNCC", "ANC", "C", "D", "JHMI", "MMI", "MS"]
Row: TypeAlias = tuple[Number, Number, Number, Number]
Matrix: TypeAlias = Annotated[tuple[Row, ...], AfterValidator(_square)]


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
    alignment_spacing: Positive | None = None
    context_radius: Positive | None = None
    cc_radius: Positive | PerAxis | None = None
    match_threshold: Share = 0.6
    match_ratio: Share = 0.9
    max_spot_match_distance: Positive | None = None
    max_rotation: NonNegative = 35.0
    point_matches_threshold: CountOrZero = 8
    align_threshold: Positive | None = None
    confidence: Share = 0.999
    diagonal_constraint: NonNegative | None = 0.35


class MetricConfig(StepConfig):
    """The metric of a step, and the search that improves it; each step names the metrics it knows."""

    alignment_spacing: Positive | None = None
    shrink_factors: tuple[Count, ...] | None = None
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
    max_rotation: Limits | None = 0.2
    max_scale: Limits | None = 1.05
    max_shear: Limits | None = None
    alignment_spacing: Positive | None = None


class DeformConfig(MetricConfig):
    """Optimise a smooth displacement field.

    The engine chooses each value that is None: greedy by the voxel size, simpleitk as bigstream (MMI, one level).
    """

    name: ClassVar[str] = "deform"
    engine: Literal["greedy", "simpleitk"] = "greedy"
    metric: Metric | None = None
    control_point_spacing: Positive | None = None
    control_point_levels: tuple[Count, ...] = (1,)
    iterations: tuple[Count, ...] | None = None
    window: Positive | None = None
    smoothness: Positive | None = None
    foreground_emphasis: Share | None = None
    max_step: Positive | None = None
    min_jacobian: Share | None = None
    tolerance: Positive | None = None


STEP_MODELS: Mapping[str, type[StepConfig]] = {
    model.name: model for model in (RansacConfig, RandomConfig, RigidConfig, AffineConfig, DeformConfig)
}
"""The steps by name."""

GREEDY_METRICS: Mapping[str, Literal["lncc", "ncc", "mse", "mi"]] = {
    "LNCC": "lncc",
    "ANC": "lncc",
    "C": "ncc",
    "MS": "mse",
    "D": "mse",
    "MMI": "mi",
    "JHMI": "mi",
}
"""The engine greedy's own name of each metric."""
