"""MetaImage (.mha, .mhd) through SimpleITK.

Lengths are µm unless the header has `DistanceUnits`, which ITK leaves unread. ITK takes a missing `ElementSpacing`
for 1; here it is unknown. https://docs.itk.org/en/latest/learn/metaio.html
"""

from __future__ import annotations

import math
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
from teralign.volumes.units import parse_number
from teralign.volumes.whole_file import check_one_image

_IO = "MetaImageIO"
_LAST = b"ElementDataFile"
_SIZES = ("ElementSpacing", "ElementSize")
_NO_UNIT = "?"
_LONGEST_NAME = 200  # ITK copies names into buffers of 255 bytes
_LARGEST_SIDE = 2**31 - 1  # voxels; ITK makes other numbers of larger ones


def describe(container: Path, dataset: str) -> Description:
    """Describe the image of a file: a fourth axis is time, the components of a voxel are channels."""
    check_one_image(container, dataset)
    with opening(container), container.open("rb") as file:
        content = file.read(LONGEST_HEADER)
    last = content.find(_LAST)
    offset = content.find(b"\n", last) + 1
    if last < 0 or offset == 0:
        raise InputError(f"{container} is not a MetaImage file: its header has no ElementDataFile.")
    lines = content[:offset].decode("latin-1").splitlines()
    fields = {name.strip(): value.strip() for name, _, value in (line.partition("=") for line in lines)}
    _check_header(container, fields)
    sizes = _sizes(fields)
    unit = fields.get("DistanceUnits", _NO_UNIT)
    units = () if unit in ("", _NO_UNIT) else (unit,) * 3
    stand_in = None if are_usable(sizes) else _stand_in(container, fields, offset)
    return describe_image(container, _IO, ItkHeader(sizes, units, stand_in))


def _check_header(path: Path, fields: dict[str, str]) -> None:
    """Raise InputError for a header that would crash ITK or be misread, or that has its voxels in another folder."""
    if fields.get("NDims") not in ("3", "4"):
        raise InputError(f"{path} has {fields.get('NDims', 'no')!s:.20} as NDims; only 3 and 4 can be read.")
    sides = fields.get("DimSize", "").split()
    if not all(side.isdecimal() and 0 < int(side[:20]) <= _LARGEST_SIDE for side in sides):
        raise InputError(f"{path} has the DimSize {' '.join(sides)[:80]}, which are no numbers of voxels; repair it.")
    if any(len(name) > _LONGEST_NAME for name in (*fields, fields.get("Name", ""))):
        raise InputError(f"{path} has a name of more than {_LONGEST_NAME} characters in its header; repair it.")
    data = fields.get("ElementDataFile", "")
    if data.upper() == "LIST" or "%" in data:
        raise InputError(f"{path} has its voxels in several files; make one .mha of them.")
    if data.upper() != "LOCAL":
        check_data_file(path, data)


def _sizes(fields: dict[str, str]) -> tuple[float, float, float] | None:
    """Return the voxel sizes (x, y, z) exactly as the header states them, None where it states none."""
    text = next((fields[name] for name in _SIZES if name in fields), "")
    values = [math.nan if number is None else number for number in map(parse_number, text.split())]
    return (values[0], values[1], values[2]) if len(values) >= 3 else None


def _stand_in(path: Path, fields: dict[str, str], offset: int) -> StandIn:
    """Return a file without the voxel size, which ITK refuses."""
    data = fields["ElementDataFile"]
    local = data.upper() == "LOCAL"
    kept = {name: value for name, value in fields.items() if name not in _SIZES}
    kept["ElementDataFile"] = data if local else str((path.parent / data).resolve())
    header = "".join(f"{name} = {value}\n" for name, value in kept.items())
    return StandIn(header.encode("latin-1"), path, offset)
