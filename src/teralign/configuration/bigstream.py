"""The keys that are accepted beside our own: former names, and keys of bigstream that change nothing.

Keys of bigstream's multi-pass files that have a counterpart are in `passes`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from teralign.configuration.passes import OVERLAP_KEYS, SIZE_KEYS, BsplineConstraints, Pass
from teralign.configuration.sections import GlobalSection, LocalSection
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

OTHER_STEPS: Mapping[str, str] = {"demons": "deform", "elastix_affine": "affine", "elastix_deform": "deform"}
"""Steps of bigstream that Teralign lacks, each with the step that finds the same kind of map."""

IDLE_SECTIONS: Mapping[str, str] = {
    "spot_detection": "its values count where other sections take them by an anchor",
    "apply_deform": "fields are interpolated linearly; --interpolation of apply-transform chooses for images",
    "print_running_improvements": "the log follows the steps by itself",
}
"""Top-level keys without effect, with the reason."""

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
    "fix_mask_percentile": "--fixed-mask auto finds the foreground",
    "mov_mask_percentile": "--moving-mask auto finds the foreground",
}
_METRIC = {
    "context": "the log names the step by itself",
    "default": "a step that fails always keeps its start",
    "callback": "the log follows the step by itself",
    "static_transform_list": "the start is what the steps before found",
    "final_metric_check": "a step is always accepted only if its metric improves",
    "print_running_improvements": "the log follows the step by itself",
    "sampling_seed": "--seed makes all sampling repeatable",
    "max_displacement": "fields do not fold, and blocks that disagree with their neighbours are replaced by them",
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
_LATTICE = {
    "processing_offset": "blocks begin at the first voxel, and are blended over all of their overlap",
    "blend_ramp": "fields are blended by weights of one shape",
    "neighbor_consistency": "blocks that disagree with their neighbours are always replaced by them",
}
_GLOBAL = dict.fromkeys(
    ("block_size", "block_overlap", *SIZE_KEYS, *OVERLAP_KEYS, *_LATTICE),
    "global-align holds both volumes in memory, without blocks",
)
_PASS = {**_LATTICE, "name": "the log counts the steps by itself"}
_CONSTRAINTS = {
    "K": "min_jacobian limits local shrinking, which folds space; growth does not",
    "mode": "the limit holds for the field that is used",
    "max_displacement": _METRIC["max_displacement"],
}
_LOCAL = {
    **_LATTICE,
    "transform_overlap": "fields are blended over all of block_overlap, and images are resampled without overlap",
}

NO_EFFECT: Mapping[type[Section], Mapping[str, str]] = {
    SpotDetection: _SPOTS,
    RansacConfig: _RANSAC,
    RandomConfig: _RANDOM,
    RigidConfig: _LINEAR,
    AffineConfig: _LINEAR,
    DeformConfig: _DEFORM,
    GlobalSection: _GLOBAL,
    LocalSection: _LOCAL,
    Pass: _PASS,
    BsplineConstraints: _CONSTRAINTS,
}
"""The keys without effect of each section, with the reason."""
