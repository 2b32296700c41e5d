"""The configuration of an alignment: one YAML file, strictly checked.

Top level: one section a step (`ransac`, `random`, `rigid`, `affine`, `deform`) with its defaults, and `global_align`
and `local_align`, each with its `steps`, its own values for the steps, and (local) the size of blocks. Lengths are µm
unless a key says voxels; all triples are (z, y, x). The keys of bigstream's configuration are accepted with their
meaning; those that cannot have one here are named once in the log.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeAlias, TypeVar

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from teralign.errors import InputError
from teralign.grids import Triple

log = logging.getLogger(__name__)

SectionName: TypeAlias = Literal["global_align", "local_align"]
_Model = TypeVar("_Model", bound="_Section")


def _number(value: object) -> object:
    """YAML 1.1 reads 1e-4, without a dot, as text: take it as the number that was meant."""
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
CountOrNone: TypeAlias = Annotated[int, Field(strict=True, ge=0)]
PerAxis: TypeAlias = tuple[Positive, Positive, Positive]
Limits: TypeAlias = NonNegative | tuple[NonNegative, NonNegative, NonNegative]
SizeRange: TypeAlias = Annotated[tuple[Positive | PerAxis, Positive | PerAxis], AfterValidator(_order)]
Row: TypeAlias = tuple[Number, Number, Number, Number]
Matrix: TypeAlias = Annotated[tuple[Row, ...], AfterValidator(_square)]


class _Section(BaseModel):
    """A mapping of the YAML in which only known keys may stand."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    NO_EFFECT: ClassVar[Mapping[str, str]] = {}
    """Keys of bigstream that are accepted, with the reason why they change nothing here."""


class StepConfig(_Section):
    """The parameters of one step."""

    name: ClassVar[str]


class SpotDetection(_Section):
    """How blobs of one image are found."""

    NO_EFFECT: ClassVar[Mapping[str, str]] = {
        "blob_method": "blobs are always found by differences of Gaussians, which approximate the Laplacian",
        "background_subtract": "differences of Gaussians do not see a smooth background",
        "threshold": "an absolute response depends on the brightness of the image; set threshold_rel",
        "num_sigma": "num_sigma_max of the step sets the number of sizes",
        "sigma_ratio": "num_sigma_max of the step sets the number of sizes",
        "log_scale": "sizes are always spaced evenly in their logarithm",
        "overlap": "blobs are maxima over positions and sizes, which cannot lie closer than half their radius",
        "exclude_border": "blobs at the faces are compared by the part of their surroundings that exists",
    }

    threshold_rel: Share = 0.01
    winsorize_limits: tuple[Share, Share] | None = (0.001, 0.001)


class RansacConfig(StepConfig):
    """Blobs, matched by their surroundings, and a robust fit."""

    name: ClassVar[str] = "ransac"
    NO_EFFECT: ClassVar[Mapping[str, str]] = {
        "safeguard_exceptions": "a step that has too little to go on always keeps its start and says so",
        "default": "a step that has too little to go on always keeps its start",
        "context": "the log names the step by itself",
        "static_transform_list": "the start is what the steps before found",
        "maxIters": "the number of trials follows from confidence",
        "refineIters": "the fit is refined until its inliers no longer change",
    }

    model: Literal["rigid", "similarity", "affine"] = "affine"
    blob_radii: SizeRange | None = None
    blob_sizes: SizeRange | None = None
    num_sigma_max: Count = 4
    nspots: Count = 1500
    fix_spots_count_threshold: CountOrNone = 20
    mov_spots_count_threshold: CountOrNone = 20
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
    point_matches_threshold: CountOrNone = 8
    align_threshold: Positive | None = None
    confidence: Share = 0.999
    diagonal_constraint: NonNegative | None = 0.35


class _MetricConfig(StepConfig):
    """What is measured, and by which search it is improved."""

    NO_EFFECT: ClassVar[Mapping[str, str]] = {
        "context": "the log names the step by itself",
        "default": "a step that fails always keeps its start",
        "callback": "the log follows the step by itself",
        "static_transform_list": "the start is what the steps before found",
        "final_metric_check": "a step is always accepted only if its metric improves",
    }

    alignment_spacing: Positive | None = None
    shrink_factors: tuple[Count, ...] | None = None
    smooth_sigmas: tuple[NonNegative, ...] | None = None
    metric: Literal["ANC", "C", "D", "JHMI", "MMI", "MS"] = "MMI"
    metric_args: Mapping[str, Number] = {}
    optimizer: Literal["A", "CGLS", "E", "GD", "GDLS", "LBFGS2", "LBFGSB", "OPOE", "P", "RSGD"] = "RSGD"
    optimizer_args: Mapping[str, Annotated[Any, BeforeValidator(_number)]] = {}
    exhaustive_step_sizes: tuple[NonNegative, ...] | None = None
    sampling: Literal["NONE", "REGULAR", "RANDOM"] | None = None
    sampling_percentage: Annotated[Number, Field(gt=0, le=1)] | None = None
    interpolator: Literal["0", "1", "CBS", "G", "LG", "HWS", "CWS", "WWS", "LWS", "BWS"] = "1"


class _LinearConfig(_MetricConfig):
    """A linear map by optimisation, coarse to fine."""

    NO_EFFECT: ClassVar[Mapping[str, str]] = {
        **_MetricConfig.NO_EFFECT,
        "rigid": "the steps rigid and affine are two steps",
    }

    metric: Literal["LNCC", "ANC", "C", "D", "JHMI", "MMI", "MS"] = "LNCC"  # type: ignore[assignment]
    initial_condition: Literal["CENTER", "FFT", "IDENTITY"] | Matrix | None = None


class RigidConfig(_LinearConfig):
    """Rotation and translation."""

    name: ClassVar[str] = "rigid"


class AffineConfig(_LinearConfig):
    """Any linear map."""

    name: ClassVar[str] = "affine"


class RandomConfig(StepConfig):
    """A search among random affine maps."""

    name: ClassVar[str] = "random"
    NO_EFFECT: ClassVar[Mapping[str, str]] = {
        **_MetricConfig.NO_EFFECT,
        "metric": "maps are compared by mean correlation in windows, which neither light nor bleaching upsets",
        "metric_args": "see metric",
        "use_patch_mutual_information": "see metric",
        "radius": "see metric",
        "stride": "see metric",
        "percentile_cutoff": "see metric",
        "optimizer": "nothing is optimised",
        "optimizer_args": "nothing is optimised",
        "exhaustive_step_sizes": "nothing is optimised",
        "sampling": "samples are spread evenly over the foreground, and seeded",
        "sampling_percentage": "samples are spread evenly over the foreground, and seeded",
        "interpolator": "images are interpolated linearly",
        "shrink_factors": "alignment_spacing sets the one level that is used",
        "smooth_sigmas": "alignment_spacing sets the one level that is used",
        "initial_condition": "the first map that is tried is the start",
    }

    random_iterations: Count = 1000
    nreturn: Count = 10
    max_translation: Limits | None = None
    max_rotation: Limits | None = 0.2
    max_scale: Limits | None = 1.05
    max_shear: Limits | None = None
    alignment_spacing: Positive | None = None


class DeformConfig(_MetricConfig):
    """A smooth displacement field.

    What is None the engine chooses: greedy by the voxel size, simpleitk as bigstream (MMI, one level).
    """

    name: ClassVar[str] = "deform"
    NO_EFFECT: ClassVar[Mapping[str, str]] = {
        **_MetricConfig.NO_EFFECT,
        "initial_condition": "the start is what the steps before found",
    }

    engine: Literal["greedy", "simpleitk"] = "greedy"
    metric: Literal["LNCC", "ANC", "C", "D", "JHMI", "MMI", "MS"] | None = None  # type: ignore[assignment]
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

METRIC_ARGS: Mapping[str, Sequence[str]] = {
    "LNCC": (),
    "ANC": ("radius",),
    "C": (),
    "D": ("intensityDifferenceThreshold",),
    "JHMI": ("numberOfHistogramBins", "varianceForJointPDFSmoothing"),
    "MMI": ("numberOfHistogramBins",),
    "MS": (),
}
"""What `metric_args` may hold for each metric."""

_DESCENT = (
    "learningRate",
    "numberOfIterations",
    "convergenceMinimumValue",
    "convergenceWindowSize",
    "estimateLearningRate",
    "maximumStepSizeInPhysicalUnits",
)
_LINE_SEARCH = (
    *_DESCENT,
    "lineSearchLowerLimit",
    "lineSearchUpperLimit",
    "lineSearchEpsilon",
    "lineSearchMaximumIterations",
)
OPTIMIZER_ARGS: Mapping[str, Sequence[str]] = {
    "A": (
        "simplexDelta",
        "numberOfIterations",
        "parametersConvergenceTolerance",
        "functionConvergenceTolerance",
        "withRestarts",
    ),
    "CGLS": _LINE_SEARCH,
    "E": ("numberOfSteps", "stepLength"),
    "GD": _DESCENT,
    "GDLS": _LINE_SEARCH,
    "LBFGS2": (
        "solutionAccuracy",
        "numberOfIterations",
        "hessianApproximateAccuracy",
        "deltaConvergenceDistance",
        "deltaConvergenceTolerance",
        "lineSearchMaximumEvaluations",
        "lineSearchMinimumStep",
        "lineSearchMaximumStep",
        "lineSearchAccuracy",
    ),
    "LBFGSB": (
        "gradientConvergenceTolerance",
        "numberOfIterations",
        "maximumNumberOfCorrections",
        "maximumNumberOfFunctionEvaluations",
        "costFunctionConvergenceFactor",
        "lowerBound",
        "upperBound",
        "trace",
    ),
    "OPOE": ("numberOfIterations", "epsilon", "initialRadius", "growthFactor", "shrinkFactor", "seed"),
    "P": ("numberOfIterations", "maximumLineIterations", "stepLength", "stepTolerance", "valueTolerance"),
    "RSGD": (
        "learningRate",
        "minStep",
        "numberOfIterations",
        "relaxationFactor",
        "gradientMagnitudeTolerance",
        "estimateLearningRate",
        "maximumStepSizeInPhysicalUnits",
    ),
}
"""What `optimizer_args` may hold for each optimizer; their meaning is in SimpleITK's ImageRegistrationMethod."""

_OTHER_STEPS = ("demons", "elastix_affine", "elastix_deform")


class _AlignSection(_Section):
    """What stands in `global_align` or `local_align` beside the steps' own values."""

    steps: tuple[str | dict[str, dict[str, Any] | None], ...] | None = None


class _GlobalSection(_AlignSection):
    pass


class _LocalSection(_AlignSection):
    NO_EFFECT: ClassVar[Mapping[str, str]] = {
        "transform_overlap": "fields are blended over all of block_overlap, and images are resampled without overlap",
    }

    block_size: tuple[Count, Count, Count] = (128, 128, 128)
    block_overlap: Annotated[Number, Field(ge=0, le=0.5)] = 0.1


_SECTION_MODELS: Mapping[str, type[_AlignSection]] = {"global_align": _GlobalSection, "local_align": _LocalSection}
_DEFAULT_STEPS: Mapping[str, tuple[str, ...]] = {"global_align": ("ransac", "affine"), "local_align": ("deform",)}
_Values: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True)
class _Plan:
    """An align section as read: its own keys, its values for the steps, and its list of steps."""

    steps: tuple[tuple[str, _Values], ...]
    overrides: Mapping[str, _Values]


@dataclass(frozen=True)
class Config:
    """A checked configuration; make one with `load_config`."""

    source: str = "the built-in defaults"
    defaults: Mapping[str, _Values] = field(default_factory=dict)
    sections: Mapping[str, _Plan] = field(default_factory=dict)
    block_size: Triple = (128, 128, 128)
    block_overlap: float = 0.1

    def steps(self, section: SectionName, names: Sequence[str] | None = None) -> list[StepConfig]:
        """The steps of a section with their parameters, in order.

        `names` (from --steps) wins over the section's own list, and then every step takes the section's values.
        Raises InputError for a step that does not exist, and for no steps at all.
        """
        chosen = self.sections.get(section)
        plan: list[tuple[str, _Values]]
        if names:
            plan = [(name.strip(), {}) for name in names]
        elif chosen is not None:
            plan = [(name, dict(values)) for name, values in chosen.steps]
        else:
            plan = [(name, {}) for name in _DEFAULT_STEPS[section]]
        if not plan:
            raise InputError(
                f"{section}.steps of {self.source} is empty, which skips nothing here; "
                "name at least one step, or give --steps."
            )
        overrides = chosen.overrides if chosen is not None else {}
        where = "--steps" if names else f"{self.source}: {section}.steps"
        return [self._step(name, [overrides.get(name, {}), own], where) for name, own in plan]

    def _step(self, name: str, layers: Sequence[_Values], where: str) -> StepConfig:
        check_step_name(name, where)
        values: dict[str, Any] = {}
        for layer in (self.defaults.get(name, {}), *layers):
            values = _merge(values, layer)
        step = STEP_MODELS[name].model_validate(values)
        if isinstance(step, _MetricConfig):
            _check_arguments(step, self.source)
            _note_idle(step, self.source)
        return step


def check_step_name(name: str, where: str) -> None:
    """Raise InputError, with the nearest name, if there is no step of this name; `where` says who asked for it."""
    if name not in STEP_MODELS:
        raise InputError(f"{where}: there is no step {name!r}{_nearest(name, STEP_MODELS)}")


def _check_arguments(step: _MetricConfig, source: str) -> None:
    metric = step.metric or "MMI"
    for key, chosen, given, known in (
        ("metric_args", f"metric {metric}", step.metric_args, METRIC_ARGS[metric]),
        ("optimizer_args", f"optimizer {step.optimizer}", step.optimizer_args, OPTIMIZER_ARGS[step.optimizer]),
    ):
        for argument in given:
            if argument not in known:
                near = _nearest(argument, known) if known else ", which takes none."
                raise InputError(f"{source}: {step.name}.{key} has no key {argument!r} for {chosen}{near}")
    levels = {"shrink_factors": step.shrink_factors, "smooth_sigmas": step.smooth_sigmas}
    if isinstance(step, DeformConfig) and len(step.control_point_levels) > 1:
        levels["control_point_levels"] = step.control_point_levels
    lengths = {key: len(values) for key, values in levels.items() if values is not None}
    if len(set(lengths.values())) > 1:
        said = " and ".join(f"{n} in {key}" for key, n in lengths.items())
        raise InputError(f"{source}: {step.name} must have as many levels in each list, not {said}.")


_SIMPLEITK_ONLY = (
    "metric_args",
    "optimizer",
    "optimizer_args",
    "exhaustive_step_sizes",
    "sampling",
    "sampling_percentage",
    "interpolator",
)


_DEFORM_SIMPLEITK_ONLY = (*_SIMPLEITK_ONLY, "smooth_sigmas", "control_point_levels")
_DEFORM_GREEDY_ONLY = (
    "iterations",
    "window",
    "smoothness",
    "foreground_emphasis",
    "max_step",
    "min_jacobian",
    "tolerance",
)
GREEDY_METRICS: Mapping[str, Literal["lncc", "ncc", "mse", "mi"]] = {
    "LNCC": "lncc",
    "ANC": "lncc",
    "C": "ncc",
    "MS": "mse",
    "D": "mse",
    "MMI": "mi",
    "JHMI": "mi",
}
"""The metrics of the engine greedy, by their names here."""


def _note_idle(step: _MetricConfig, source: str) -> None:
    """Log which keys that were given mean nothing to the search that the metric or the engine brings with it."""
    fields = type(step).model_fields
    keys, search = _idle_keys(step)
    idle = [key for key in keys if getattr(step, key) != fields[key].default]
    if idle:
        log.info("%s: %s of %s: no effect with %s", source, ", ".join(idle), step.name, search)


def _idle_keys(step: _MetricConfig) -> tuple[Sequence[str], str]:
    """The keys without effect, and with what."""
    if isinstance(step, DeformConfig):
        if step.engine == "simpleitk":
            return _DEFORM_GREEDY_ONLY, "engine simpleitk; greedy uses them"
        return _DEFORM_SIMPLEITK_ONLY, "engine greedy, which has a search of its own; simpleitk uses them"
    if isinstance(step, _LinearConfig) and step.metric == "LNCC":
        return _SIMPLEITK_ONLY, "metric LNCC, which has a search of its own; MMI uses them"
    return (), ""


def load_config(path: Path | None = None) -> Config:
    """Read and check a configuration file; without one, everything has its default.

    Raises InputError, one sentence with file, section and key, for whatever is unknown or ill-typed.
    """
    if path is None:
        return Config()
    content = _read_yaml(path)
    reader = _Reader(str(path))
    known = {**STEP_MODELS, **_SECTION_MODELS}
    defaults: dict[str, _Values] = {}
    sections: dict[str, _Plan] = {}
    blocks: dict[str, Any] = {}
    for key, value in content.items():
        if key in STEP_MODELS:
            defaults[key] = reader.step(key, value, key)
        elif key in _SECTION_MODELS:
            sections[key], own = reader.section(key, value)
            blocks |= own
        elif key in _OTHER_STEPS:
            reader.note(key, "there is no such step")
        else:
            raise InputError(f"{path}: there is no section {key!r}{_nearest(str(key), known)}")
    return Config(str(path), defaults, sections, **blocks)


def _read_yaml(path: Path) -> _Values:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"the configuration {path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"the configuration {path} is not a text file.") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" in line {mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or "it cannot be parsed"
        raise InputError(f"the configuration {path} is not valid YAML{place}: {problem}.") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise InputError(f"the configuration {path} must be a mapping of sections, not {_readable(content)}.")
    return content


class _Reader:
    """Checks the sections of one file, and says once of each key without effect that it has none."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._noted: set[tuple[str, str]] = set()

    def section(self, name: str, value: object) -> tuple[_Plan, _Values]:
        """The steps and overrides of an align section, and those keys of its own that the file sets."""
        values = self._mapping(value, name)
        overrides = {
            key: self.step(key, content, f"{name}.{key}") for key, content in values.items() if key in STEP_MODELS
        }
        for key in values:
            if key in _OTHER_STEPS:
                self.note(f"{name}.{key}", "there is no such step")
        own = {key: v for key, v in values.items() if key not in STEP_MODELS and key not in _OTHER_STEPS}
        if "steps" in own and own["steps"] is None:
            del own["steps"]
        model = _SECTION_MODELS[name]
        own = self._effective(model, own, name)
        checked = self._validate(model, own, name, also=STEP_MODELS)
        listed = checked.steps if checked.steps is not None else _DEFAULT_STEPS[name]
        section = _Plan(tuple(self._listed(entry, f"{name}.steps") for entry in listed), overrides)
        return section, {key: getattr(checked, key) for key in own if key != "steps"}

    def step(self, name: str, value: object, where: str) -> _Values:
        """The values of one step as the file gives them, checked, without the keys that have no effect."""
        model = STEP_MODELS[name]
        values = self._effective(model, self._mapping(value, where), where)
        for key, info in model.model_fields.items():
            inner = info.annotation
            if isinstance(inner, type) and issubclass(inner, _Section) and key in values:
                values[key] = self._effective(inner, self._mapping(values[key], f"{where}.{key}"), f"{where}.{key}")
        self._validate(model, values, where)
        return values

    def note(self, key: str, why: str) -> None:
        """Log, once a file, that a key has no effect."""
        short = key.removeprefix("global_align.").removeprefix("local_align.")
        if (short, why) not in self._noted:
            self._noted.add((short, why))
            log.info("%s: %s has no effect: %s", self._source, key, why)

    def _listed(self, entry: str | dict[str, dict[str, Any] | None], where: str) -> tuple[str, _Values]:
        if isinstance(entry, str):
            check_step_name(entry, f"{self._source}: {where}")
            return entry, {}
        if len(entry) != 1:
            raise InputError(
                f"{self._source}: an entry of {where} must be the name of a step, or one name with its values "
                f"(`- affine: {{metric: MMI}}`), not {_readable(entry)}."
            )
        (name, values), *_ = entry.items()
        check_step_name(name, f"{self._source}: {where}")
        return name, self.step(name, values, f"{where}.{name}")

    def _effective(self, model: type[_Section], values: _Values, where: str) -> dict[str, Any]:
        for key in values:
            if key in model.NO_EFFECT:
                self.note(f"{where}.{key}", model.NO_EFFECT[key])
        return {key: value for key, value in values.items() if key not in model.NO_EFFECT}

    def _mapping(self, value: object, where: str) -> _Values:
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise InputError(f"{self._source}: {where} must be a mapping of keys to values, not {_readable(value)}.")
        return value

    def _validate(
        self, model: type[_Model], values: _Values, where: str, *, also: Mapping[str, object] | None = None
    ) -> _Model:
        try:
            return model.model_validate(values)
        except ValidationError as error:
            raise InputError(f"{self._source}: {_sentence(error, model, where, also or {})}") from error


def _sentence(error: ValidationError, model: type[_Section], where: str, also: Mapping[str, object]) -> str:
    """The first thing that is wrong, unknown keys before all else, as the end of a sentence."""
    problems = sorted(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
    problem = problems[0]
    keys = [str(part) for part in problem["loc"]]
    if problem["type"] == "extra_forbidden":
        for key in keys[:-1]:
            annotation = model.model_fields[key].annotation
            assert isinstance(annotation, type) and issubclass(annotation, _Section)
            model = annotation
        path = ".".join([where, *keys[:-1]])
        return f"{path} has no key {keys[-1]!r}{_nearest(keys[-1], [*model.model_fields, *model.NO_EFFECT, *also])}"
    # Alternatives of a union are reported one by one, under names of the library's own: say them together.
    wanted = dict.fromkeys(_requirement(p) for p in problems if p["loc"][:1] == problem["loc"][:1])
    value = problem["input"] if len(wanted) == 1 else _at(problems, keys[0])
    index = "".join(f"[{part}]" for part in problem["loc"][1:] if isinstance(part, int)) if len(wanted) == 1 else ""
    inner = [part for part in keys[1:2] if not part.isdigit() and part in _inner_fields(model, keys[0])]
    return f"{'.'.join([where, keys[0], *inner])}{index} should be {' or '.join(wanted)}, not {_readable(value)}."


def _inner_fields(model: type[_Section], key: str) -> Mapping[str, object]:
    annotation = model.model_fields[key].annotation
    return annotation.model_fields if isinstance(annotation, type) and issubclass(annotation, _Section) else {}


def _at(problems: Sequence[Any], key: str) -> object:
    """The value that was given for a key, as far as the reports of its alternatives show it."""
    mine = [p for p in problems if str(p["loc"][0]) == key]
    return min(mine, key=lambda p: len(p["loc"]))["input"]


def _requirement(problem: Mapping[str, Any]) -> str:
    kind, context = problem["type"], problem.get("ctx", {})
    plain = {
        "float_type": "a number",
        "int_type": "a whole number",
        "bool_type": "true or false",
        "tuple_type": "a list",
        "mapping_type": "a mapping",
        "dict_type": "a mapping",
        "string_type": "text",
        "finite_number": "a finite number",
    }
    if kind in plain:
        return plain[kind]
    if kind == "literal_error":
        return str(context["expected"]).replace("'", "")
    if kind in {"missing", "too_long"}:
        return "a list of the right length"
    if kind == "value_error":
        return str(context["error"]).removeprefix("should be ")
    return str(problem["msg"]).removeprefix("Input should be ")


def _nearest(word: str, known: Mapping[str, object] | Sequence[str]) -> str:
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean {found[0]!r}?" if found else f"; there are {', '.join(known)}."


def _readable(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _merge(base: _Values, over: _Values) -> dict[str, Any]:
    """`base` with the values of `over`; mappings in both are merged in turn."""
    both: dict[str, Any] = dict(base)
    for key, value in over.items():
        old = both.get(key)
        both[key] = _merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return both
