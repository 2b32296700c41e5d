"""Transform parameter files of elastix, as transforms of ITK.

Each is a text of `(Key value …)` lines for one transform, and names the file of the transform applied before it.
See the elastix manual, "Transform parameter files".
"""

from __future__ import annotations

import re
from pathlib import Path

from teralign.errors import InputError
from teralign.files import refuse_device
from teralign.transforms.itk_files import SitkTransform, sitk

_ENTRY = re.compile(r"^\s*\(\s*(\w+)\s+(.*?)\s*\)\s*(?://.*)?$", re.MULTILINE)
_VALUE = re.compile(r'"([^"]*)"|([^\s"]+)')
_NONE = "NoInitialTransform"
Entries = dict[str, list[str]]


def read_parts(path: Path) -> list[SitkTransform]:
    """Return the ITK transforms of a file and of the files that it names, outermost first.

    Raises InputError when one cannot be read, or is of an unsupported kind.
    """
    parts: list[SitkTransform] = []
    seen: set[Path] = set()
    following: Path | None = path
    while following is not None:
        if following.resolve() in seen:
            raise InputError(f"{path} names itself as its initial transform.")
        seen.add(following.resolve())
        entries = _entries(following)
        try:
            parts.append(_transform(following, entries))
        except (KeyError, IndexError, ValueError, RuntimeError) as error:
            raise InputError(f"{following} is not a valid elastix transform ({error}).") from error
        following = _initial(following, entries)
    return parts


def _entries(path: Path) -> Entries:
    """Return the keys of a file with their values."""
    try:
        refuse_device(path)
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the elastix transform {path} cannot be read.") from error
    found = {key: [quoted or plain for quoted, plain in _VALUE.findall(rest)] for key, rest in _ENTRY.findall(text)}
    if "Transform" not in found:
        raise InputError(f"{path} is not a transform parameter file of elastix: it has no (Transform …).")
    return found


def _initial(path: Path, entries: Entries) -> Path | None:
    """Return the file of the transform that is applied before, None if there is none."""
    names = entries.get("InitialTransformParameterFileName") or entries.get("InitialTransformParametersFileName")
    if not names or names[0] == _NONE:
        return None
    if entries.get("HowToCombineTransforms", ["Compose"])[0] != "Compose":
        raise InputError(f"{path} adds its initial transform instead of composing with it, which is not supported.")
    given = Path(names[0])
    beside = path.parent / given.name  # elastix writes the path of where it ran
    return given if given.is_absolute() and given.exists() else beside


def _transform(path: Path, entries: Entries) -> SitkTransform:
    """Return the transform of a file's entries. Raises InputError for an unsupported kind."""
    kind = entries["Transform"][0]
    if entries.get("FixedImageDimension", ["3"])[0] != "3":
        raise InputError(
            f"{path} is of {entries['FixedImageDimension'][0]} dimensions; only 3-D ones can be converted."
        )
    if entries.get("UseBinaryFormatForTransformationParameters", ["false"])[0] == "true":
        raise InputError(f"{path} has its parameters in another, binary file; have elastix write them as text.")
    if kind not in _KINDS:
        raise InputError(f"{path} holds a {kind}; {', '.join(sorted(_KINDS))} can be converted.")
    transform = _KINDS[kind](entries)
    parameters = _numbers(entries, "TransformParameters")
    if len(parameters) != len(transform.GetParameters()):
        raise ValueError(f"{len(parameters)} parameters instead of {len(transform.GetParameters())}")
    transform.SetParameters(parameters)
    return transform


def _affine(entries: Entries) -> SitkTransform:
    return _centred(sitk.AffineTransform(3), entries)


def _euler(entries: Entries) -> SitkTransform:
    transform = _centred(sitk.Euler3DTransform(), entries)
    transform.SetComputeZYX(entries.get("ComputeZYX", ["false"])[0] == "true")
    return transform


def _similarity(entries: Entries) -> SitkTransform:
    return _centred(sitk.Similarity3DTransform(), entries)


def _translation(_: Entries) -> SitkTransform:
    return sitk.TranslationTransform(3)


def _bspline(entries: Entries) -> SitkTransform:
    """Return a B-spline: its fixed parameters are size, origin, spacing and direction of the coefficients."""
    if any(float(n) for n in entries.get("GridIndex", [])):
        raise ValueError("a grid that does not begin at index 0")
    if entries.get("UseCyclicTransform", ["false"])[0] == "true":
        raise ValueError("a cyclic B-spline")
    transform = sitk.BSplineTransform(3, int(entries.get("BSplineTransformSplineOrder", ["3"])[0]))
    direction = _numbers(entries, "GridDirection") if "GridDirection" in entries else [1, 0, 0, 0, 1, 0, 0, 0, 1]
    columns = [direction[3 * i + j] for j in range(3) for i in range(3)]  # elastix writes it column by column
    fixed = [_numbers(entries, key) for key in ("GridSize", "GridOrigin", "GridSpacing")]
    transform.SetFixedParameters([*(n for part in fixed for n in part), *columns])
    return transform


def _centred(transform: SitkTransform, entries: Entries) -> SitkTransform:
    transform.SetCenter(_numbers(entries, "CenterOfRotationPoint"))
    return transform


def _numbers(entries: Entries, key: str) -> list[float]:
    return [float(value) for value in entries[key]]


_KINDS = {
    "AffineTransform": _affine,
    "BSplineTransform": _bspline,
    "EulerTransform": _euler,
    "RecursiveBSplineTransform": _bspline,
    "SimilarityTransform": _similarity,
    "TranslationTransform": _translation,
}
