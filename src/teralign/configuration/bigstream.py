"""The keys that are accepted beside our own: former names, and keys of bigstream that change nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from teralign.configuration.sections import LocalSection
from teralign.registration.config import (
    AffineConfig,
    DeformConfig,
    RandomConfig,
    RansacConfig,
    RigidConfig,
    Section,
    SpotDetection,
)

RENAMED: Mapping[type[Section], Mapping[str, tuple[str, Callable[[float], float]]]] = {
    RansacConfig: {"max_rotation": ("max_rotation_degrees", float)},
    RandomConfig: {"max_rotation": ("max_rotation_degrees", math.degrees)},
}
"""Former keys of a section, each with its present name and the conversion of its numbers."""

OTHER_STEPS = ("demons", "elastix_affine", "elastix_deform")
"""Steps of bigstream that Teralign lacks."""

_SPOTS = {
    "blob_method": "blobs are always found by differences of Gaussians, which approximate the Laplacian",
    "background_subtract": "differences of Gaussians do not see a smooth background",
    "threshold": "an absolute response depends on the brightness of the image; set threshold_rel",
    "num_sigma": "num_sigma_max of the step sets the number of sizes",
    "sigma_ratio": "num_sigma_max of the step sets the number of sizes",
    "log_scale": "sizes are always spaced evenly in their logarithm",
    "overlap": "blobs are maxima over positions and sizes, which cannot lie closer than half their radius",
    "exclude_border": "blobs at the faces are compared by the part of their surroundings that exists",
}
_RANSAC = {
    "safeguard_exceptions": "a step that has too little to go on always keeps its start and says so",
    "default": "a step that has too little to go on always keeps its start",
    "context": "the log names the step by itself",
    "static_transform_list": "the start is what the steps before found",
    "maxIters": "the number of trials follows from confidence",
    "refineIters": "the fit is refined until its inliers no longer change",
}
_METRIC = {
    "context": "the log names the step by itself",
    "default": "a step that fails always keeps its start",
    "callback": "the log follows the step by itself",
    "static_transform_list": "the start is what the steps before found",
    "final_metric_check": "a step is always accepted only if its metric improves",
}
_LINEAR = {
    **_METRIC,
    "rigid": "the steps rigid and affine are two steps",
}
_RANDOM = {
    **_METRIC,
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
_DEFORM = {
    **_METRIC,
    "initial_condition": "the start is what the steps before found",
}
_LOCAL = {
    "transform_overlap": "fields are blended over all of block_overlap, and images are resampled without overlap",
}

NO_EFFECT: Mapping[type[Section], Mapping[str, str]] = {
    SpotDetection: _SPOTS,
    RansacConfig: _RANSAC,
    RandomConfig: _RANDOM,
    RigidConfig: _LINEAR,
    AffineConfig: _LINEAR,
    DeformConfig: _DEFORM,
    LocalSection: _LOCAL,
}
"""The keys without effect of each section, with the reason."""
