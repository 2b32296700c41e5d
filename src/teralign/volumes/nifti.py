"""NIfTI-1 and NIfTI-2 (.nii, .nii.gz), read by ourselves.

SimpleITK gives what it likes for a file that was cut or damaged, and `a.nii` for `a.nii.gz` where both are there.
Here a gzipped file is read whole, checksum included, and one that is not is mapped into memory.

Positions are ITK's: x to the left and y to the back, where the header counts to the right and to the front. Direction
cosines are not used: positions run along the array's own axes. https://nifti.nimh.nih.gov/nifti-1
"""

from __future__ import annotations

import gzip
import logging
import math
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from teralign.errors import DataError, InputError
from teralign.grids import Floats, FloatTriple, Region
from teralign.volumes.description import Description
from teralign.volumes.files import opening
from teralign.volumes.whole_file import WholeFilePixels, check_one_image

log = logging.getLogger(__name__)

_MICROMETRES = {1: 1e6, 2: 1e3, 3: 1.0}
_DTYPES = {
    2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8",
    128: "3u1", 2304: "4u1",
}  # fmt: skip
_MAGICS = {348: (344, b"n+1\0"), 540: (4, b"n+2\0")}
_FIELDS = {
    348: {
        "dim": (40, "8h"), "datatype": (70, "h"), "pixdim": (76, "8f"), "vox_offset": (108, "f"),
        "scl": (112, "2f"), "xyzt_units": (123, "B"), "codes": (252, "2h"), "quatern": (256, "3f"),
        "qoffset": (268, "3f"), "srow": (280, "12f"),
    },
    540: {
        "dim": (16, "8q"), "datatype": (12, "h"), "pixdim": (104, "8d"), "vox_offset": (168, "q"),
        "scl": (176, "2d"), "xyzt_units": (500, "i"), "codes": (344, "2i"), "quatern": (352, "3d"),
        "qoffset": (376, "3d"), "srow": (400, "12d"),
    },
}  # fmt: skip
_TO_ITK = np.array([-1.0, -1.0, 1.0])


@dataclass(frozen=True)
class Header:
    """What a header says of the voxels: how they lie in the file, and that value = slope · stored + intercept.

    `shape` is (t, z, y, x), `planes` are the channels that lie one after the other; `stored` may have samples within
    a voxel, which are channels too.
    """

    stored: str
    offset: int
    planes: int
    shape: tuple[int, int, int, int]
    slope: float
    intercept: float

    @property
    def scaled(self) -> bool:
        """Whether the stored values stand for others."""
        return (self.slope, self.intercept) != (1.0, 0.0)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the values, in native byte order: floats that hold all of them where they are scaled."""
        base = np.dtype(self.stored).base.newbyteorder("=")
        return np.result_type(base, np.float32) if self.scaled else base

    @property
    def channels(self) -> int:
        """Planes, or samples within a voxel."""
        return self.planes * math.prod(np.dtype(self.stored).shape)


def describe(container: Path, dataset: str) -> Description:
    """Describe the image of a file: its fourth axis is time; the fifth, or colours, are channels."""
    check_one_image(container, dataset)
    fields = _fields(container)
    header = _header(container, fields)
    spacing, origin = _geometry(container, fields)
    _, z, y, x = header.shape
    return Description(
        pixels=NiftiPixels(container, header),
        shape=(z, y, x),
        dtype=header.dtype,
        chunk_shape=(z, y, x),
        spacing=spacing,
        origin=origin,
        channels=header.channels,
        timepoints=header.shape[0],
        files=(container,),
    )


@dataclass
class NiftiPixels(WholeFilePixels):
    """The voxels of a file whose header has been read."""

    header: Header

    def read(self, region: Region, channel: int, timepoint: int) -> NDArray[Any]:
        """The (z, y, x) values of `region`. Raises DataError when they cannot be read."""
        stored = super().read(region, channel, timepoint)
        if not self.header.scaled:
            return stored
        values: NDArray[Any] = stored * self.header.dtype.type(self.header.slope) + self.header.intercept
        return values.astype(self.header.dtype, copy=False)

    def _load(self) -> NDArray[Any]:
        stored, shape = np.dtype(self.header.stored), (self.header.planes, *self.header.shape)
        array: NDArray[Any]
        try:
            if not _zipped(self.path):
                array = np.memmap(self.path, dtype=stored, mode="r", offset=self.header.offset, shape=shape)
            else:
                with gzip.open(self.path) as file:
                    content = file.read()
                array = np.ndarray(shape, stored, content, self.header.offset)
        except (OSError, EOFError, ValueError, TypeError, zlib.error) as error:
            raise DataError(f"{self.path} cannot be read: {error}.") from error
        return array[0] if stored.shape else np.moveaxis(array, 0, -1)


def _zipped(path: Path) -> bool:
    return path.suffix.lower() == ".gz"


def _fields(path: Path) -> dict[str, Any]:
    """The fields of the header that matter, its byte `order` and `size`; raises InputError for what is no NIfTI."""
    with opening(path):
        try:
            with cast("IO[bytes]", gzip.open(path) if _zipped(path) else path.open("rb")) as file:
                content = file.read(max(_FIELDS))
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise InputError(f"{path} is not a NIfTI file that can be read: {error}.") from error
    for order in "<>":
        size = struct.unpack_from(f"{order}i", content)[0] if len(content) >= min(_FIELDS) else 0
        if size in _FIELDS and size <= len(content):
            at, magic = _MAGICS[size]
            if content[at : at + 4] != magic:
                raise InputError(f"{path} has its voxels in another file; convert the two to one .nii.")
            found = {name: struct.unpack_from(f"{order}{f}", content, at) for name, (at, f) in _FIELDS[size].items()}
            return found | {"order": order, "size": size}
    raise InputError(f"{path} is not a NIfTI file: it does not begin with its header.")


def _header(path: Path, fields: dict[str, Any]) -> Header:
    count, *lengths = fields["dim"]
    if not 3 <= count <= 7:
        raise InputError(f"{path} has {count} dimensions; only 3-D volumes can be aligned, in time or not.")
    x, y, z, t, planes, *more = lengths[:count] + [1] * (7 - count)
    stored = _DTYPES.get(fields["datatype"][0])
    if stored is None:
        raise InputError(
            f"{path} holds values of type {fields['datatype'][0]}; only integers and floats can be read."
        )
    if max(more) > 1 or (planes > 1 and np.dtype(stored).shape):
        raise InputError(f"{path} has the dimensions {lengths[:count]}; only x, y, z, time and channels can be read.")
    offset = int(fields["vox_offset"][0])
    if offset < fields["size"]:
        raise InputError(f"{path} says that its voxels begin at byte {offset}, inside the header; repair it.")
    slope, intercept = fields["scl"]
    if slope == 0 or not math.isfinite(slope + intercept) or np.dtype(stored).shape:
        slope, intercept = 1.0, 0.0
    ordered = stored if np.dtype(stored).base.itemsize == 1 else f"{fields['order']}{stored}"
    return Header(ordered, offset, planes, (t, z, y, x), slope, intercept)


def _geometry(path: Path, fields: dict[str, Any]) -> tuple[FloatTriple | None, FloatTriple]:
    """Spacing and origin (z, y, x) in µm; when the unit is not known, no spacing, and the origin in voxels."""
    spacing, origin, turned = _placement(fields)
    if turned:
        log.warning("%s has turned axes, which are not used: positions run along the array's own axes.", path)
    if fields["size"] == min(_FIELDS):
        spacing, origin = ([float(str(np.float32(v))) for v in values] for values in (spacing, origin))
    unit = _MICROMETRES.get(fields["xyzt_units"][0] & 7)
    if unit is None:
        return None, _zyx([o / s if s > 0 else 0.0 for o, s in zip(origin, spacing, strict=True)])
    return _zyx([s * unit for s in spacing]), _zyx([o * unit for o in origin])


def _placement(fields: dict[str, Any]) -> tuple[Sequence[float], Sequence[float], bool]:
    """Spacing and origin (x, y, z) in the header's unit, and whether the axes are turned against ITK's.

    By the general affine if the header has one, else by its rotation, else by its voxel size alone.
    """
    by_rotation, by_affine = (code > 0 for code in fields["codes"])
    if by_affine:
        rows = np.array(fields["srow"]).reshape(3, 4) * _TO_ITK[:, None]
        spacing = np.sqrt((rows[:, :3] ** 2).sum(axis=0))
        with np.errstate(invalid="ignore"):
            return spacing.tolist(), rows[:, 3].tolist(), not np.allclose(rows[:, :3] / spacing, np.eye(3), atol=1e-4)
    sizes = fields["pixdim"][1:4]
    if by_rotation:
        turn = _rotation(fields["quatern"], fields["pixdim"][0]) * _TO_ITK[:, None]
        origin = (np.array(fields["qoffset"]) * _TO_ITK).tolist()
        return sizes, origin, not np.allclose(turn, np.eye(3), atol=1e-4)
    return sizes, (0.0, 0.0, 0.0), False


def _rotation(quaternion: Sequence[float], handedness: float) -> Floats:
    """The axes of the array as the columns of a 3 x 3 matrix, x, y, z, by the last three numbers of a quaternion."""
    b, c, d = quaternion
    a = math.sqrt(max(0.0, 1.0 - b * b - c * c - d * d))
    matrix = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - c * c - b * b],
        ]
    )
    matrix[:, 2] *= -1.0 if handedness < 0 else 1.0
    return matrix


def _zyx(xyz: Sequence[float]) -> FloatTriple:
    x, y, z = xyz
    return z, y, x
