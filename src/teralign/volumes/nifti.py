"""NIfTI-1 and NIfTI-2 (.nii, .nii.gz), through nibabel.

nibabel reads the header and finds the voxels. Faults that it accepts are refused here: a file that was cut off, a
gzip stream with a wrong checksum, a header whose voxels lie in another file. A .nii is mapped into memory; a .nii.gz
is read whole, up to its checksum.

Positions are ITK's: x to the left and y to the back, where the header counts to the right and to the front. The
general affine (`sform`) comes before the rotation (`qform`). https://nifti.nimh.nih.gov/nifti-1
"""

from __future__ import annotations

import contextlib
import functools
import gzip
import itertools
import logging
import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np

from teralign.errors import DataError, InputError
from teralign.grids import Floats, FloatTriple, as_float_triple, reverse_axes
from teralign.volumes.description import Description, Voxels
from teralign.volumes.files import opening
from teralign.volumes.orientation import VISIBLE, Directions, Orientation, straighten
from teralign.volumes.units import is_size
from teralign.volumes.whole_file import WholeFilePixels, check_one_image

if TYPE_CHECKING:
    from teralign.grids import Region

log = logging.getLogger(__name__)

Header: TypeAlias = Any  # nibabel's headers give every field without a type
_MICROMETRES = {1: 1e6, 2: 1e3, 3: 1.0}  # by the bits of xyzt_units for space: m, mm, µm
_SPACE_BITS = 7
_LONGEST_HEADER = 540  # bytes: NIfTI-2's
_LONGEST_NUMBER = 8  # bytes: longer floats differ between machines
_LAST_CODE = 5  # NIFTI_XFORM_TEMPLATE_OTHER
_TO_ITK = np.array([-1.0, -1.0, 1.0])
_UNZIPPED_AT_ONCE = 1 << 20
_MOST_AFTER = 64  # times that, after the voxels
_DAMAGE = (OSError, EOFError, ValueError, TypeError, OverflowError, zlib.error)


@dataclass(frozen=True)
class StoredValues:
    """The layout of values in a file: value = slope · stored + intercept.

    `shape` is (c, t, z, y, x); `dtype` may have samples within a voxel, which are channels too.
    """

    dtype: np.dtype[np.generic]
    offset: int
    shape: tuple[int, int, int, int, int]
    slope: float = 1.0
    intercept: float = 0.0

    @property
    def is_scaled(self) -> bool:
        """Whether the stored values have to be scaled."""
        return (self.slope, self.intercept) != (1.0, 0.0)

    @property
    def value_dtype(self) -> np.dtype[np.generic]:
        """The type of the values in native byte order: floats that hold all of them where they are scaled."""
        base = self.dtype.base.newbyteorder("=")
        return np.result_type(base, np.float32) if self.is_scaled else base

    @property
    def channels(self) -> int:
        """The number of channels: planes, or samples within a voxel."""
        return self.shape[0] * math.prod(self.dtype.shape)

    @property
    def end(self) -> int:
        """The byte after the last voxel."""
        return self.offset + math.prod(self.shape) * self.dtype.itemsize


def describe(container: Path, dataset: str) -> Description:
    """Describe the image of a file: its fourth axis is time; the fifth, or colours, are channels."""
    check_one_image(container, dataset)
    header = _read_header(container)
    values = _stored_values(container, header)
    if not _is_zipped(container) and container.stat().st_size < values.end:
        raise DataError(
            f"{container} was cut off: it has {container.stat().st_size} of {values.end} bytes; copy it again."
        )
    _, timepoints, *stored = values.shape
    first, steps, directions = _place(container, header)
    orientation = Orientation.nearest(directions)
    first, direction = straighten(str(container), first, directions)
    shape = orientation.shape(stored)
    unit = _MICROMETRES.get(int(header["xyzt_units"]) & _SPACE_BITS)
    sizes = orientation.sizes([None if unit is None else step * unit for step in steps])
    turned = zip(first, orientation.triple(steps), strict=True)
    position = [o * unit if unit is not None else (o / step if is_size(step) else 0.0) for o, step in turned]
    return Description(
        pixels=NiftiPixels(container, values, orientation),
        shape=shape,
        dtype=values.value_dtype,
        chunk_shape=shape,
        spacing=sizes,
        origin=orientation.origin(position, sizes, shape),
        channels=values.channels,
        timepoints=timepoints,
        files=(container,),
        orientation=orientation,
        directions=Directions(direction, is_patient=max(header["sform_code"], header["qform_code"]) > 0),
    )


@dataclass
class NiftiPixels(WholeFilePixels):
    """The voxels of a file whose header has been read."""

    values: StoredValues
    orientation: Orientation

    def read(self, region: Region, channel: int, timepoint: int) -> Voxels:
        """Read the (z, y, x) values of `region`. Raises DataError when they cannot be read."""
        stored = super().read(region, channel, timepoint)
        if not self.values.is_scaled:
            return stored
        dtype = self.values.value_dtype
        scaled: Voxels = np.add(np.multiply(stored, dtype.type(self.values.slope)), self.values.intercept)
        return scaled.astype(dtype, copy=False)

    def _load(self) -> Voxels:
        try:
            array = _read_voxels(self.path, self.values)
        except _DAMAGE as error:
            raise DataError(f"{self.path} cannot be read: {error}.") from error
        return self.orientation.turn(array[0] if self.values.dtype.shape else np.moveaxis(array, 0, -1))


def _read_voxels(path: Path, values: StoredValues) -> Voxels:
    """Return all stored voxels (c, t, z, y, x): a .nii mapped into memory, a .nii.gz read up to its checksum."""
    from nibabel.volumeutils import array_from_file

    found: Voxels
    if not _is_zipped(path):
        with path.open("rb") as file:
            found = array_from_file(values.shape, values.dtype, file, values.offset, order="C", mmap="r")
        return found
    with gzip.open(path) as zipped:
        found = array_from_file(values.shape, values.dtype, zipped, values.offset, order="C", mmap=False)
        for _ in range(_MOST_AFTER):  # the checksum is at the very end
            if not zipped.read(_UNZIPPED_AT_ONCE):
                return found
    raise ValueError("it holds far more than the voxels that its header declares")
    return found


def _is_zipped(path: Path) -> bool:
    return path.suffix.lower() == ".gz"


def _read_header(path: Path) -> Header:
    """Return the header as nibabel has it, in either byte order. Raises InputError where the file has none."""
    try:
        from nibabel import Nifti1Header, Nifti2Header
    except ImportError as error:
        raise InputError(
            f"{path} is a NIfTI file, which needs nibabel; install it with: pip install 'teralign[nifti]'."
        ) from error
    with opening(path):
        try:
            with cast("IO[bytes]", gzip.open(path) if _is_zipped(path) else path.open("rb")) as file:
                content = file.read(_LONGEST_HEADER)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise InputError(f"{path} is not a NIfTI file that can be read: {error}.") from error
    kinds: tuple[Any, ...] = (Nifti1Header, Nifti2Header)
    for kind in kinds:
        if kind.may_contain_header(content):
            header: Header = kind(content[: kind.sizeof_hdr], check=False)
            if header["magic"].item() not in (b"n+1", b"n+2"):
                raise InputError(f"{path} has its voxels in another file; convert the two to one .nii.")
            return header
    raise InputError(f"{path} is not a NIfTI file: it does not begin with its header.")


def _stored_values(path: Path, header: Header) -> StoredValues:
    count, *lengths = (int(n) for n in header["dim"])
    if not 3 <= count <= 7:
        raise InputError(f"{path} has {count} dimensions; only 3-D volumes can be aligned, with or without time.")
    x, y, z, t, planes, *more = lengths[:count] + [1] * (7 - count)
    dtype = _dtype(path, header)
    if max(more) > 1 or (planes > 1 and dtype.shape):
        raise InputError(f"{path} has the dimensions {lengths[:count]}; only x, y, z, time and channels can be read.")
    if not math.isfinite(header["vox_offset"]) or (offset := int(header["vox_offset"])) < header.sizeof_hdr:
        raise InputError(
            f"{path} says that its voxels begin at byte {header['vox_offset']:g}, inside the header; repair it."
        )
    slope, intercept = _scaling(header) if not dtype.shape else (1.0, 0.0)
    return StoredValues(dtype, offset, (planes, t, z, y, x), slope, intercept)


def _dtype(path: Path, header: Header) -> np.dtype[np.generic]:
    """Return the type of a stored voxel: a number, or 3 or 4 bytes of a colour."""
    from nibabel.spatialimages import HeaderDataError

    with contextlib.suppress(HeaderDataError):
        dtype: np.dtype[np.generic] = header.get_data_dtype()
        if dtype.names is not None:  # R, G, B and perhaps A
            return np.dtype((np.uint8, (len(dtype.names),)))
        if dtype.kind in "iuf" and dtype.itemsize <= _LONGEST_NUMBER:
            return dtype
    raise InputError(f"{path} holds values of type {header['datatype']}; only integers and floats can be read.")


def _scaling(header: Header) -> tuple[float, float]:
    """Return slope and intercept, 1 and 0 where the header gives none that make sense."""
    from nibabel.spatialimages import HeaderDataError

    try:
        slope, intercept = header.get_slope_inter()
    except HeaderDataError:
        return 1.0, 0.0
    return (1.0, 0.0) if slope is None else (float(slope), float(intercept))


def _place(path: Path, header: Header) -> tuple[FloatTriple, FloatTriple, Floats]:
    """Return where the first voxel lies, the steps along the array's axes, and their directions; as ITK has them.

    All are (z, y, x), lengths in the header's unit. They are those of the general affine if the header has one, else
    of its rotation, else of its voxel sizes alone.
    """
    _check_codes(path, header)
    steps: Sequence[float] = header["pixdim"][1:4].tolist()
    first: Sequence[float] = (0.0, 0.0, 0.0)
    directions = np.eye(3)
    if header["sform_code"] > 0:
        rows = header.get_sform()[:3] * _TO_ITK[:, None]
        lengths = np.sqrt((rows[:, :3] ** 2).sum(axis=0))
        with np.errstate(invalid="ignore"):
            directions = rows[:, :3] / lengths
        steps, first = lengths.tolist(), rows[:, 3].tolist()
    elif header["qform_code"] > 0:
        directions = _rotation(path, header) * _TO_ITK[:, None]
        first = [float(header[f"qoffset_{axis}"]) * sign for axis, sign in zip("xyz", _TO_ITK, strict=True)]
    if header.sizeof_hdr < _LONGEST_HEADER:
        first, steps = ([float(str(np.float32(v))) for v in values] for values in (first, steps))
    return as_float_triple(reverse_axes(first)), as_float_triple(reverse_axes(steps)), directions[::-1, ::-1]


def _check_codes(path: Path, header: Header) -> None:
    """Log a warning for codes that NIfTI does not define, and for an affine and a rotation that disagree."""
    codes = {name: int(header[f"{name}_code"]) for name in ("sform", "qform")}
    for name, code in codes.items():
        if not 0 <= code <= _LAST_CODE:
            _warn(str(path), f"has the {name}_code {code}, which NIfTI does not define")
    if min(codes.values()) <= 0:
        return
    try:
        difference = header.get_sform() - header.get_qform()
    except ValueError:  # an invalid rotation, which is not used
        return
    last = [max(0, int(n) - 1) for n in header["dim"][1:4]]
    corners = np.array([(*corner, 1) for corner in itertools.product(*((0, n) for n in last))])
    apart = np.linalg.norm(corners @ difference[:3].T, axis=1).max()
    voxel = float(np.linalg.norm(header.get_sform()[:3, :3], axis=0).min())
    if apart > VISIBLE * voxel:
        _warn(
            str(path), f"has an affine (sform) and a rotation (qform) that are up to {apart / voxel:.2g} voxels apart"
        )


@functools.lru_cache(maxsize=1024)
def _warn(name: str, fault: str) -> None:
    """Log once for each file: commands open it repeatedly."""
    log.warning("%s %s; the sform is used where there is one, else the qform", name, fault)


def _rotation(path: Path, header: Header) -> Floats:
    """Return the directions of the array's axes as the columns of a 3 x 3 matrix, x, y, z, by the quaternion."""
    from nibabel import quaternions

    quat2mat: Any = quaternions.quat2mat  # without types
    try:
        matrix: Floats = quat2mat(header.get_qform_quaternion())
    except ValueError as error:
        raise InputError(f"{path} has an invalid rotation (qform); repair its header.") from error
    matrix[:, 2] *= -1.0 if header["pixdim"][0] < 0 else 1.0
    return matrix
