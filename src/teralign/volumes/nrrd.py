"""NRRD (.nrrd, .nhdr) through SimpleITK.

No part of a file can be read alone, so the first read takes all of it into memory. Direction cosines are not used:
positions run along the array's own axes. Lengths are µm unless the header's `space units` (or `units`) say otherwise.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from teralign.errors import DataError, InputError
from teralign.grids import FloatTriple, reverse_axes
from teralign.volumes.description import Description
from teralign.volumes.files import opening
from teralign.volumes.units import micrometres
from teralign.volumes.whole_file import WholeFilePixels, check_one_image

log = logging.getLogger(__name__)

_IO = "NrrdImageIO"
_LONGEST_HEADER = 1 << 20
sitk: Any = SimpleITK  # half annotated: as good as untyped


def describe(container: Path, dataset: str) -> Description:
    """Describe the image of a file: a fourth axis is time, the components of a voxel are channels."""
    check_one_image(container, dataset)
    header = _header(container)
    reader = sitk.ImageFileReader()
    reader.SetImageIO(_IO)
    reader.SetFileName(str(container))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise InputError(f"{container} is not an NRRD file that can be read: {_reason(error)}.") from error
    size = reader.GetSize()
    if len(size) not in (3, 4):
        raise InputError(f"{container} has {len(size)} dimensions; only 3-D volumes can be aligned, in time or not.")
    if reader.GetDirection() != tuple(np.eye(len(size)).ravel()):
        log.warning("%s has turned axes, which are not used: positions run along the array's own axes.", container)
    units = _units(header)
    told = "spacings" in header or "space directions" in header
    shape = _zyx(size)
    return Description(
        pixels=NrrdPixels(container),
        shape=(int(shape[0]), int(shape[1]), int(shape[2])),
        dtype=_dtype(container, reader.GetPixelIDValue()),
        chunk_shape=(int(shape[0]), int(shape[1]), int(shape[2])),
        spacing=_scaled(reader.GetSpacing(), units) if told else None,
        origin=_scaled(reader.GetOrigin(), units),
        channels=reader.GetNumberOfComponents(),
        timepoints=size[3] if len(size) == 4 else 1,
        files=(container,),
    )


class NrrdPixels(WholeFilePixels):
    """The voxels of a file, all of which ITK reads at once."""

    def _load(self) -> NDArray[Any]:
        try:
            image = sitk.ReadImage(str(self.path), imageIO=_IO)
        except RuntimeError as error:
            raise DataError(f"{self.path} cannot be read: {_reason(error)}.") from error
        array: NDArray[Any] = sitk.GetArrayFromImage(image)
        array = array if image.GetNumberOfComponentsPerPixel() > 1 else array[..., np.newaxis]
        return array if image.GetDimension() == 4 else array[np.newaxis]


def _header(path: Path) -> dict[str, str]:
    """The fields of the text header, names in lower case."""
    with opening(path), path.open("rb") as file:
        text = file.read(_LONGEST_HEADER).split(b"\n\n")[0].split(b"\r\n\r\n")[0].decode("latin-1")
    if not text.startswith("NRRD"):
        raise InputError(f"{path} is not an NRRD file: it does not begin with NRRD.")
    lines = (line.split(":", maxsplit=1) for line in text.splitlines() if re.match(r"[\w ]+:(?!=)", line))
    return {name.strip().lower(): value.strip() for name, value in lines}


def _units(header: dict[str, str]) -> FloatTriple:
    """µm for each unit of length along (z, y, x)."""
    names = re.findall(r'"([^"]*)"', header.get("space units", header.get("units", "")))
    sizes = [micrometres(name) or 1.0 for name in names if name]
    return _zyx(sizes) if len(sizes) >= 3 else (1.0, 1.0, 1.0)


def _dtype(path: Path, pixel_id: int) -> np.dtype[Any]:
    name = sitk.GetPixelIDValueAsString(pixel_id)
    match = re.fullmatch(r"(?:vector of )?(\d+)-bit (unsigned integer|signed integer|float)", name)
    if match is None:
        raise InputError(f"{path} holds {name} values; only integers and floats can be read.")
    kind = {"u": "u", "s": "i", "f": "f"}[match[2][0]]
    return np.dtype(f"{kind}{int(match[1]) // 8}")


def _scaled(xyz: tuple[float, ...], units: FloatTriple) -> FloatTriple:
    z, y, x = (value * unit for value, unit in zip(_zyx(xyz), units, strict=True))
    return z, y, x


def _zyx(values: tuple[float, ...] | list[float]) -> FloatTriple:
    z, y, x = reverse_axes(values[:3])
    return z, y, x


def _reason(error: RuntimeError) -> str:
    """What ITK says, without the place in its source."""
    return str(error).strip().splitlines()[-1].strip().rstrip(".")
