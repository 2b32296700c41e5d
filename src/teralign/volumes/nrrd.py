"""NRRD (.nrrd, .nhdr) through SimpleITK.

Lengths are µm unless the header's `space units` (or `units`) say otherwise. ITK would take a spacing that is NaN for
1, and one that is negative for a flipped axis; here such a size is unknown. bzip2, which ITK lacks, is decompressed
first. http://teem.sourceforge.net/nrrd/format.html
"""

from __future__ import annotations

import functools
import logging
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from teralign.errors import InputError
from teralign.volumes.description import Description
from teralign.volumes.files import opening
from teralign.volumes.itk_image import (
    LONGEST_HEADER,
    ItkHeader,
    StandIn,
    are_usable,
    check_data_file,
    describe_image,
)
from teralign.volumes.whole_file import check_one_image

log = logging.getLogger(__name__)

_IO = "NrrdImageIO"
_PLACE = ("space", "space dimension", "space directions", "space origin", "spacings", "measurement frame")
_SPACES_OF_ITK = {
    *("left-posterior-superior", "lps", "right-anterior-superior", "ras", "left-anterior-superior", "las"),
    *("left-posterior-superior-time", "lpst", "right-anterior-superior-time", "rast"),
    *("left-anterior-superior-time", "last"),
}
_DATA = ("data file", "datafile")
_DOMAIN_KINDS = {"domain", "space", "time"}
_LONGEST_LINE = 1000  # where a line is malformed, ITK quotes it in a buffer of 1024 bytes
_FREE_TEXT = ("#", "content:")


def describe(container: Path, dataset: str) -> Description:
    """Describe the image of a file: a fourth axis is time, the components of a voxel are channels."""
    check_one_image(container, dataset)
    lines, offset = _read_header(container)
    _check_header(container, lines)
    fields = {name.lower(): value for name, value in lines if name}
    sizes = _sizes(fields)
    space = fields.get("space", "")
    if space and space.lower() not in _SPACES_OF_ITK:
        _warn_of_space(str(container), space)
    is_bzip2 = fields.get("encoding", "").lower() in ("bzip2", "bz2")
    stand_in = None
    if is_bzip2 or not are_usable(sizes):
        stand_in = _stand_in(container, lines, offset, is_bzip2=is_bzip2, drop_place=not are_usable(sizes))
    is_patient = space.lower() in _SPACES_OF_ITK
    return describe_image(container, _IO, ItkHeader(sizes, _units(fields), stand_in, is_patient))


@functools.lru_cache(maxsize=1024)
def _warn_of_space(name: str, space: str) -> None:
    """Log once for each file: commands open it repeatedly."""
    log.warning(
        "%s has its axes in the space %s; like ITK, Teralign takes it for left-posterior-superior", name, space
    )


def _read_header(path: Path) -> tuple[list[tuple[str, str]], int]:
    """Return the lines of the header, as name and value ("" for what is no field), and where the voxels begin."""
    with opening(path), path.open("rb") as file:
        content = file.read(LONGEST_HEADER)
    if not content.startswith(b"NRRD"):
        raise InputError(f"{path} is not an NRRD file: it does not begin with NRRD.")
    end = re.search(rb"\r?\n\r?\n", content)
    text = content[: end.start() if end else len(content)].decode("latin-1")
    fields = (re.match(r"([\w ]+):(?!=)(.*)", line) for line in text.splitlines())
    lines = [
        (match[1].strip(), match[2].strip()) if match else ("", line)
        for match, line in zip(fields, text.splitlines(), strict=True)
    ]
    return lines, end.end() if end else len(content)


def _check_header(path: Path, lines: Sequence[tuple[str, str]]) -> None:
    """Raise InputError for a header that would crash ITK, or that has its voxels in another folder."""
    for number, (name, value) in enumerate(lines, start=1):
        text = f"{name}:{value}" if name else value
        free = text.lower().startswith(_FREE_TEXT) or ":=" in text[:_LONGEST_LINE]
        if len(text) > _LONGEST_LINE and not free:
            raise InputError(
                f"{path} has {len(text)} characters in line {number} of its header; repair or replace it."
            )
        if name.lower() in _DATA:
            listed = [line for _, line in lines[number:]] if value.split()[:1] == ["LIST"] else []
            for file in listed or value.split()[:1]:  # one file, a pattern with its numbers, or a list
                check_data_file(path, file)


def _stand_in(
    path: Path, lines: Sequence[tuple[str, str]], offset: int, *, is_bzip2: bool, drop_place: bool
) -> StandIn:
    """Return a file without bzip2, and without a place that ITK refuses."""
    source = path
    kept = []
    for name, value in lines:
        field = name.lower()
        if field in _DATA:
            if not (path.parent / value).is_file():
                raise InputError(f"{path} has its voxels in {value}, which is not one file; make one .nrrd of it.")
            source, offset = path.parent / value, 0
        elif field == "encoding" and is_bzip2:
            kept.append("encoding: raw")
        elif not (drop_place and field in _PLACE):
            kept.append(f"{name}: {value}" if name else value)
    return StandIn("\n".join([*kept, "", ""]).encode("latin-1"), source, offset, is_bzip2)


def _sizes(fields: Mapping[str, str]) -> tuple[float, float, float] | None:
    """Return the voxel sizes (x, y, z) exactly as the header states them, None where it states none."""
    if "space directions" in fields:
        vectors = re.findall(r"none|\([^)]*\)", fields["space directions"].lower())
        values = [_length(vector) for vector in vectors]
    elif "spacings" in fields:
        values = [_number(value) for value in fields["spacings"].split()]
    else:
        return None
    values = _of_space(values, fields)
    return (values[0], values[1], values[2]) if len(values) >= 3 else None


def _of_space(values: Sequence[float], fields: Mapping[str, str]) -> list[float]:
    """Return the entries for axes of space: not those of components, which `kinds` names."""
    kinds = fields.get("kinds", "").lower().split()
    if len(kinds) != len(values):
        return list(values)
    return [value for value, kind in zip(values, kinds, strict=True) if kind in _DOMAIN_KINDS]


def _length(vector: str) -> float:
    return math.nan if vector == "none" else math.hypot(*(_number(part) for part in vector.strip("()").split(",")))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _units(fields: Mapping[str, str]) -> tuple[str, ...]:
    """Return the unit of each axis (x, y, z), none where the header names fewer than three."""
    names = re.findall(r'"([^"]*)"', fields.get("space units", fields.get("units", "")))
    named = tuple(name for name in names if name.strip())
    return named[:3] if len(named) >= 3 else ()
