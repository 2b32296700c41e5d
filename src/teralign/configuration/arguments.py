"""The checks that go beyond single values: arguments of metrics and optimizers, and lists of levels."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from teralign.configuration.sentences import nearest
from teralign.errors import InputError
from teralign.registration.config import DeformConfig, LinearConfig, MetricConfig, is_gauss_newton

log = logging.getLogger(__name__)

METRIC_ARGS: Mapping[str, Sequence[str]] = {
    "LNCC": (),
    "ANC": ("radius",),
    "C": (),
    "D": ("intensityDifferenceThreshold",),
    "JHMI": ("numberOfHistogramBins", "varianceForJointPDFSmoothing"),
    "MMI": ("numberOfHistogramBins",),
    "MS": (),
}
"""The keys of `metric_args` for each metric."""

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
"""The keys of `optimizer_args` for each optimizer; SimpleITK's ImageRegistrationMethod gives their meaning."""

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
_DEFORM_GAUSS_NEWTON_ONLY = (
    "iterations",
    "window",
    "smoothness",
    "foreground_emphasis",
    "max_step",
    "min_jacobian",
    "tolerance",
)


def check_arguments(step: MetricConfig, source: str) -> None:
    """Raise InputError where metric, optimizer and levels of a step do not fit together; `source` names the file."""
    metric = step.metric or "MMI"
    for key, chosen, given, known in (
        ("metric_args", f"metric {metric}", step.metric_args, METRIC_ARGS[metric]),
        ("optimizer_args", f"optimizer {step.optimizer}", step.optimizer_args, OPTIMIZER_ARGS[step.optimizer]),
    ):
        for argument in given:
            if argument not in known:
                near = nearest(argument, known) if known else ", which takes none."
                raise InputError(f"{source}: {step.name}.{key} has no key {argument!r} for {chosen}{near}")
    levels: dict[str, Sequence[float] | None] = {
        "shrink_factors": step.shrink_factors,
        "smooth_sigmas": step.smooth_sigmas,
    }
    if isinstance(step, DeformConfig) and len(step.control_point_levels) > 1:
        levels["control_point_levels"] = step.control_point_levels
    if is_gauss_newton(step) and step.iterations is not None:
        levels["iterations"] = step.iterations
        if step.shrink_factors is None:
            levels["shrink_factors"] = tuple(factor for factor, _ in DeformConfig().levels)
    lengths = {key: len(values) for key, values in levels.items() if values is not None}
    if len(set(lengths.values())) > 1:
        counts = " and ".join(f"{n} in {key}" for key, n in lengths.items())
        raise InputError(f"{source}: {step.name} must have the same number of levels in each list, not {counts}.")


def note_idle(step: MetricConfig, source: str) -> None:
    """Log the given keys that the search of this metric or engine ignores."""
    fields = type(step).model_fields
    keys, search = _idle_keys(step)
    idle = [key for key in keys if getattr(step, key) != fields[key].default]
    if idle:
        log.info("%s: %s of %s: no effect with %s", source, ", ".join(idle), step.name, search)


def _idle_keys(step: MetricConfig) -> tuple[Sequence[str], str]:
    """Return the keys without effect, and the search that ignores them."""
    if isinstance(step, DeformConfig):
        if step.engine == "simpleitk":
            return _DEFORM_GAUSS_NEWTON_ONLY, "engine simpleitk; gauss_newton uses them"
        return _DEFORM_SIMPLEITK_ONLY, "engine gauss_newton, which has a search of its own; simpleitk uses them"
    if isinstance(step, LinearConfig) and step.metric == "LNCC":
        return _SIMPLEITK_ONLY, "metric LNCC, which has a search of its own; MMI uses them"
    return (), ""
