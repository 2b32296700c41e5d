"""Mutual information as the deformable engine climbs it.

    I = Σ_x r(f(x), m(x)),   r(f, m) = log p(f, m) − log p(f) − log p(m)

in nats, with the densities from a joint histogram of the fixed and the displaced moving intensities, blurred by a
Gaussian. A step sees each voxel's information rise by ∂r/∂m · ∇m, and weighs it by the mean of (∂r/∂m)² at that
fixed intensity, Fisher's information: where the moving intensity hardly varies, a small difference means much.
The brightness in one image may depend in any way on the brightness in the other.

Viola, Wells: Alignment by maximization of mutual information, 1997.
Mattes et al.: PET-CT image registration in the chest using free-form deformations, 2003.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from teralign.registration.deform_kernels import F64

BINS = 32
_BLUR = 1.0  # bins
_RARE = 0.01  # of the mean count, added to every bin: rare pairs of intensities tell little


def information_tables(counts: F64, width: float) -> tuple[F64, F64]:
    """Return the tables (2, bins, bins) of r and ∂r/∂m over (f, m), and the curvature (bins) at each f.

    `counts` (bins, bins) are those of pairs of intensities (f, m), and `width` is that of a bin of m.
    """
    blurred = ndimage.gaussian_filter(counts, _BLUR, mode="nearest")
    joint = blurred + _RARE * blurred.mean()
    joint /= joint.sum()
    of_fixed, of_moving = joint.sum(axis=1, keepdims=True), joint.sum(axis=0, keepdims=True)
    information = np.log(joint / (of_fixed * of_moving))
    slope = np.gradient(information, width, axis=1)
    curvature = (joint * slope**2).sum(axis=1) / of_fixed[:, 0]
    return np.stack([information, slope]), curvature
