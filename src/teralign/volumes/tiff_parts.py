"""Files and planes that a TIFF's metadata name, checked before tifffile makes room for them or opens them.

The planes of an OME-TIFF, and of an NDTiff, may lie in other files, by name. A name is a file in the folder or below:
a TIFF from elsewhere does not choose what else is read.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from xml.etree import ElementTree

import tifffile

from teralign.errors import InputError

INDEX = "NDTiff.index"
_MOST_PLANES = 10_000_000  # more than any microscope makes; tifffile has a list of them
_SPARSE = 1000  # planes that an index may lack: which is an error, but a clearer one
_SIZES = ("SizeZ", "SizeC", "SizeT")
_COUNTS = ("IFD", "PlaneCount", "NumPlanes", "FirstZ", "FirstC", "FirstT")


def check_parts(path: Path, tiff: tifffile.TiffFile) -> None:
    """Raise InputError for a TIFF that names files outside its folder, or far more planes than any image has."""
    if tiff.is_ndtiff and (path.parent / INDEX).exists():
        check_index(path.parent / INDEX)
    elif tiff.is_ome:
        try:
            root = ElementTree.fromstring(tiff.ome_metadata or "")
        except ElementTree.ParseError:  # tifffile then reads the pages as they are
            return
        _check_ome(path, root)


def check_index(index: Path) -> str:
    """Return the first file that an index names. Raises InputError as `check_parts` does."""
    first = ""
    counted = 0
    ranges: dict[str, set[str] | tuple[int, int]] = {}
    try:
        for axes, name, *_ in tifffile.read_ndtiff_index(index):
            counted, first = counted + 1, first or name
            if Path(name).name != name:
                raise _outside(index, name)
            _widen(ranges, axes)
    except RecursionError as error:
        raise InputError(f"{index} is nested too deeply; copy the folder again.") from error
    planes = math.prod(len(found) if isinstance(found, set) else found[1] - found[0] + 1 for found in ranges.values())
    if not first:
        raise InputError(f"{index} names no image; copy the folder again.")
    if planes > _SPARSE * counted:
        raise InputError(f"{index} has {counted} planes, but declares {planes}; copy the folder again.")
    return first


def _widen(ranges: dict[str, set[str] | tuple[int, int]], axes: Mapping[str, object]) -> None:
    """Note the place of a plane along each axis, by its number or by a name."""
    for axis, value in axes.items():
        if isinstance(value, str):
            found = ranges.setdefault(axis, set())
            if isinstance(found, set):
                found.add(value)
        elif isinstance(value, int):
            known = ranges.get(axis)
            low, high = known if isinstance(known, tuple) else (value, value)
            ranges[axis] = (min(low, value), max(high, value))


def _check_ome(path: Path, root: ElementTree.Element) -> None:
    for pixels in root.iterfind("{*}Image/{*}Pixels"):
        sizes = [_whole(pixels.get(name)) for name in _SIZES]
        counts = [_whole(data.get(name)) for data in pixels.iterfind("{*}TiffData") for name in _COUNTS]
        planes = max([math.prod(sizes), *counts])
        if planes > _MOST_PLANES:
            raise InputError(
                f"{path} declares {planes} planes in its OME-XML, more than any file has; save the image again, for "
                "example with Fiji."
            )
    for along in root.iter():
        if along.tag.rpartition("}")[2].startswith("ModuloAlong") and _steps(along.attrib) > _MOST_PLANES:
            raise InputError(f"{path} divides an axis without end in its OME-XML; save the image again.")
    for name in _names(path, root):
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise _outside(path, name)


def _names(path: Path, root: ElementTree.Element) -> Iterator[str]:
    """Yield the files, other than this one, in which OME-XML has planes."""
    own = root.get("UUID")
    for uuid in root.iterfind("{*}Image/{*}Pixels/{*}TiffData/{*}UUID"):
        name = uuid.get("FileName", "")
        if (uuid.text or "") != own and name.lower() != path.name.lower():
            yield name


def _steps(attributes: Mapping[str, str]) -> float:
    try:
        start, end, step = (
            float(attributes.get(name, given)) for name, given in (("Start", 0), ("End", 0), ("Step", 1))
        )
        return (end - start) / step
    except (ValueError, ZeroDivisionError):
        return 0  # tifffile reports it


def _whole(text: str | None) -> int:
    """Return a number of OME-XML, 1 for what is none."""
    try:
        return max(1, int(text or 1))
    except ValueError:
        return 1


def _outside(path: Path, name: str) -> InputError:
    return InputError(f"{path} has planes in {name}, which is not in its folder; move that file beside it.")
