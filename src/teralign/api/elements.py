"""Elements of SpatialData: images, labels and points, with transformations to coordinate systems of the sample.

The coordinates of an element count its voxels; its transformations, in the attribute `transform` by the name of a
system, say where these lie. The system "global" is taken to be in µm. spatialdata is not imported for that.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from teralign.errors import InputError
from teralign.grids import Floats, FloatTriple, as_float_triple

if TYPE_CHECKING:
    import xarray as xr

T = TypeVar("T")

_SYSTEM = "global"


def matrix_of(element: object) -> Floats | None:
    """Return the matrix (4, 4), z, y, x, from the coordinates of an element to the sample; None for anything else."""
    transforms = getattr(element, "attrs", {}).get("transform")
    found = transforms.get(_SYSTEM) if isinstance(transforms, Mapping) else None
    if found is None or not hasattr(found, "to_affine_matrix"):
        return None
    matrix: Floats = np.asarray(found.to_affine_matrix(tuple("zyx"), tuple("zyx")), dtype=np.float64)
    return matrix


def placement_of(role: str, matrix: Floats, spacing: FloatTriple | None) -> tuple[FloatTriple, FloatTriple]:
    """Return the size of a voxel and the position of coordinate 0 (z, y, x; µm); `spacing` replaces the former.

    Raises InputError for an element that is not along the axes of the sample, and where its voxel size is not known.
    """
    if spacing is not None:
        return spacing, (0.0, 0.0, 0.0)
    scale, shift = np.diag(matrix)[:3], matrix[:3, 3]
    if not np.allclose(matrix[:3, :3], np.diag(scale)) or (scale <= 0).any():
        raise InputError(
            f"the {role} element lies on axes that are turned, sheared or mirrored in the system {_SYSTEM!r}; give "
            "an image on straight axes, such as transform of spatialdata makes."
        )
    if np.allclose(matrix, np.eye(4)):
        raise InputError(
            f"the {role} element counts voxels, and its voxel size is unknown: give spacing=(z, y, x) in µm, or a "
            f"Scale to the system {_SYSTEM!r}."
        )
    return as_float_triple(scale), as_float_triple(shift)


def finest_scale(image: T) -> T | xr.DataArray:
    """Return the first scale of an element with several as a DataArray; anything else as it is."""
    tree: type[xr.DataTree] | None = getattr(sys.modules.get("xarray"), "DataTree", None)
    if tree is None or not isinstance(image, tree) or not image.children:
        return image
    first: xr.DataArray = next(iter(next(iter(image.children.values())).data_vars.values()))
    return first
