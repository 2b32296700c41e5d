"""The voxel size of a volume: from its metadata or from the user, and checked for plausibility.

One rule for every format: a size that is missing, NaN, infinite, 0 or negative is unknown along its axis, never 1,
and the user is asked for it. Axis order is (z, y, x), lengths are µm.
"""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Sequence
from typing import TypeAlias

from teralign.errors import InputError
from teralign.grids import FloatTriple, Grid, as_float_triple, reverse_axes
from teralign.volumes.description import Description
from teralign.volumes.units import is_size

log = logging.getLogger(__name__)

# From the sections of electron microscopes to the slices of whole-body scanners.
_SMALLEST, _LARGEST = 0.005, 1000.0

Sizes: TypeAlias = Sequence[float | None]


def place_voxels(uri: str, description: Description, given: Sequence[float] | None, option: str) -> Grid:
    """Return the grid of a volume from its metadata and the spacing (z, y, x) in µm that the user gives, if any.

    A given spacing replaces the stated one, and the origin moves with it in proportion; an origin that is NaN or
    infinite is 0. Raises InputError, which names `option`, where neither the metadata nor the user give the size
    along each axis.
    """
    finite = as_float_triple(o if math.isfinite(o) else 0.0 for o in description.origin)
    stated: Sizes = description.spacing or (None, None, None)
    if given is None:
        if not all(is_size(size) for size in stated):
            raise InputError(_question(uri, stated, description.spacing_note, option))
        return Grid(description.shape, as_float_triple(size or 0.0 for size in stated), finite)
    spacing = tuple(float(size) for size in given)
    if len(spacing) != 3 or not all(is_size(size) for size in spacing):
        raise InputError(f"{option} needs three positive numbers of µm, not {spacing}.")
    moved = zip(finite, spacing, stated, strict=True)
    origin = tuple(o if size == s else o * s / (size if is_size(size) else 1.0) for o, s, size in moved)
    return Grid(description.shape, as_float_triple(spacing), as_float_triple(origin))


def warn_if_implausible(uri: str, spacing: FloatTriple, option: str) -> None:
    """Log a warning for voxels that no microscope makes; once for each volume, since commands open it repeatedly."""
    if not all(_SMALLEST <= size <= _LARGEST for size in spacing):
        _warn(uri, spacing, option)


@functools.lru_cache(maxsize=1024)
def _warn(uri: str, spacing: FloatTriple, option: str) -> None:
    shown = " x ".join(f"{size:g}" for size in reverse_axes(spacing))
    log.warning(
        "%s has voxels of %s µm (x, y, z), which is beyond %g µm to %g mm; if that is wrong, give %s X,Y,Z in µm",
        uri,
        shown,
        _SMALLEST,
        _LARGEST / 1000,
        option,
    )


@functools.lru_cache(maxsize=1024)
def note_micrometres(name: str) -> None:
    """Log that a voxel size without a unit is taken for µm; once for each file, since commands read it repeatedly."""
    log.warning("%s gives its voxel size without a unit; it is taken for µm", name)


def _question(uri: str, stated: Sizes, note: str, option: str) -> str:
    """Return the sentence that asks for a voxel size: which axes lack it, what is known, and the option."""
    sizes = list(zip("xyz", reverse_axes(stated), strict=True))
    unknown = [(axis, size) for axis, size in sizes if not is_size(size)]
    known = [f"{size:g} µm along {axis}" for axis, size in sizes if is_size(size)]
    wrong = [f"{size:g} µm along {axis}" for axis, size in unknown if size is not None]
    missing = [axis for axis, size in unknown if size is None]
    claims = [f"says that its voxels are {_joined(wrong)}"] if wrong else []
    if missing:
        voxels = "they" if wrong else "its voxels"
        claims.append(
            f"does not say how large {voxels} are" + (f" along {_joined(missing)}" if len(missing) < 3 else "")
        )
    remarks = [part for part in (note, f"they are {_joined(known)}" if known else "") if part]
    remark = f" ({'; '.join(remarks)})" if remarks else ""
    answer = ",".join(f"{size:g}" if is_size(size) else axis.upper() for axis, size in sizes)
    return f"{uri} {' and '.join(claims)}{remark}; give {option} {answer} in µm."


def _joined(parts: Sequence[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
