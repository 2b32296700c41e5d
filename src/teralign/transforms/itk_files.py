"""Files of ITK's transforms and displacement fields, read and written through SimpleITK."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import SimpleITK

from teralign.errors import DataError, InputError
from teralign.files import writing_by_name

sitk: Any = SimpleITK  # half annotated: as good as untyped
SitkTransform: TypeAlias = Any
SitkImage: TypeAlias = Any
FIELD_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd")
"""The endings of fields, stored as images of three components."""
AFFINE_SUFFIXES = (".tfm", ".txt", ".mat")
"""The endings of affines; the last is MATLAB's binary format."""
COMPOSITE_SUFFIXES = (".h5", ".hdf5")
"""The endings of ITK's HDF5 files of transforms."""
_DEEPEST = 20  # composites in composites: a type without a class of its own looks like one that holds itself
_HEAD = 1 << 16


def read_parts(path: Path) -> list[SitkTransform]:
    """Return the ITK transforms of a file of transforms, or of a field stored as an image, outermost first.

    Raises InputError when it holds neither, DataError when a field has vectors that are NaN or infinite.
    """
    if path.name.endswith(FIELD_SUFFIXES):
        return _finite(path, [_read_field(path)])
    if path.name.endswith(COMPOSITE_SUFFIXES):
        _check_hdf5(path)
    try:
        found = sitk.ReadTransform(str(path))
    except (RuntimeError, KeyError, TypeError, UnicodeDecodeError) as error:  # the second and third: unknown types
        raise InputError(f"{path} is not a transform that SimpleITK can read{_types_in(path)}.") from error
    if found.GetDimension() != 3:
        raise InputError(
            f"{path} holds a transform of {found.GetDimension()} dimensions; only 3-D ones can be converted."
        )
    return _finite(path, _flattened(found))


def _check_hdf5(path: Path) -> None:
    """Raise InputError for a damaged HDF5 file, which would end the process in ITK; without h5py it is not seen."""
    try:
        import h5py
    except ImportError:
        return
    try:
        with h5py.File(path, "r", locking="best-effort") as file:
            file.visititems(lambda _, node: None)
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise InputError(f"{path} is not a transform that SimpleITK can read: {error}.") from error


def type_name(transform: SitkTransform) -> str:
    """Return ITK's name for the type of a transform, "TranslationTransform"."""
    hidden = re.search(r"TransformQueue:\s*>*\s*(\w+) \(", str(transform))
    return hidden[1] if hidden else str(transform.GetName())


def write_parts(path: Path, parts: Sequence[SitkTransform]) -> None:
    """Write ITK transforms, outermost first, as one file, whole or not at all. Raises DataError when ITK cannot."""
    whole = composite(parts)
    _write(path, lambda place: sitk.WriteTransform(whole, place))


def composite(parts: Sequence[SitkTransform]) -> SitkTransform:
    """Return ITK transforms, outermost first, as one; an identity for none."""
    return parts[0] if len(parts) == 1 else sitk.CompositeTransform(list(parts) or 3)


def write_image(path: Path, image: SitkImage) -> None:
    """Write an image of ITK, whole or not at all. Raises DataError when ITK cannot."""
    _write(path, lambda place: sitk.WriteImage(image, place))


def _types_in(path: Path) -> str:
    """Return what transforms a text file of ITK names, as the end of a sentence; empty for other files."""
    with path.open("rb") as file:
        names = re.findall(rb"^Transform:\s*(\w+)", file.read(_HEAD), re.MULTILINE)
    unique = dict.fromkeys(name.decode() for name in names)
    return f": it holds {', '.join(unique)}" if unique else ""


def _read_field(path: Path) -> SitkTransform:
    """Read an image of three components as a displacement field. Raises InputError for other images."""
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise InputError(f"{path} is not an image that ITK can read.") from error
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 3:
        raise InputError(
            f"{path} is no displacement field: it has {image.GetDimension()} dimensions and "
            f"{image.GetNumberOfComponentsPerPixel()} components a voxel; a field has three of each."
        )
    return sitk.DisplacementFieldTransform(sitk.Cast(image, sitk.sitkVectorFloat64))


def _finite(path: Path, parts: list[SitkTransform]) -> list[SitkTransform]:
    """Return the parts. Raises DataError when their parameters or vectors are not finite."""
    for part in parts:
        field = isinstance(part, sitk.DisplacementFieldTransform)
        numbers = sitk.GetArrayViewFromImage(part.GetDisplacementField()) if field else part.GetParameters()
        if not np.isfinite(numbers).all():
            raise DataError(f"{path} holds displacements or parameters that are NaN or infinite; make it again.")
    return parts


def _flattened(transform: SitkTransform, depth: int = 0) -> list[SitkTransform]:
    """Return the parts of a composite, and of those in it; outermost first, as ITK keeps them."""
    if not isinstance(transform, sitk.CompositeTransform) or depth == _DEEPEST:
        return [transform]
    parts = (_own_class(transform.GetNthTransform(i)) for i in range(transform.GetNumberOfTransforms()))
    return [inner for part in parts for inner in _flattened(part, depth + 1)]


def _own_class(transform: SitkTransform) -> SitkTransform:
    """Return a transform as an object of its own class, as it is where SimpleITK has none."""
    try:
        return transform.Downcast()
    except (KeyError, TypeError):
        return transform


def _write(path: Path, write: Callable[[str], object]) -> None:
    """Let ITK write a file whole or not at all. Raises DataError when it cannot."""
    try:
        with writing_by_name(path) as unfinished:
            write(str(unfinished))
    except (RuntimeError, OSError) as error:
        raise DataError(f"{path} cannot be written: {str(error).strip().splitlines()[-1]}") from error
