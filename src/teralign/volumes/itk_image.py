"""Images through SimpleITK, for the formats that it reads as a header and voxels: NRRD and MetaImage.

No part of a file can be read alone, so the first read takes all of it into memory. A header that ITK refuses, or a
compression that it lacks, is replaced in a copy that lives while the file is read.
"""

from __future__ import annotations

import bz2
import contextlib
import math
import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import SimpleITK

from teralign.errors import DataError, InputError
from teralign.grids import as_triple, reverse_axes
from teralign.volumes.description import Description, Voxels
from teralign.volumes.orientation import Directions, Orientation, straighten
from teralign.volumes.spacing import note_micrometres
from teralign.volumes.units import is_size, micrometres, unknown_unit
from teralign.volumes.whole_file import WholeFilePixels

LONGEST_HEADER = 1 << 20
"""Bytes in which the end of a text header must come."""

_COPIED_AT_ONCE = 1 << 20
_SKIPPED = 1 << 20  # bytes before the voxels that NRRD's fields `line skip` and `byte skip` leave out

sitk: Any = SimpleITK  # half annotated: as good as untyped


@dataclass(frozen=True)
class StandIn:
    """A file that ITK reads in place of another: a header, then the bytes of `source` from `offset` on."""

    header: bytes
    source: Path
    offset: int
    is_bzip2: bool = False

    @contextlib.contextmanager
    def written(self, path: Path, *, voxels: int) -> Iterator[Path]:
        """Write the file for a while, named like `path`, with the first bytes of its `voxels`.

        Raises OSError or EOFError where the voxels are damaged.
        """
        with tempfile.TemporaryDirectory(prefix="teralign-") as folder:
            copy = Path(folder, path.name)
            with copy.open("wb") as target:
                target.write(self.header)
                if voxels:
                    with self.source.open("rb") as source:
                        source.seek(self.offset)
                        _copy(bz2.BZ2File(source) if self.is_bzip2 else source, target, voxels)
            yield copy


def _copy(source: IO[bytes], target: IO[bytes], size: int) -> None:
    """Copy bytes up to a number: what a compressed file holds besides may be without an end."""
    while size > 0 and (piece := source.read(min(size, _COPIED_AT_ONCE))):
        target.write(piece)
        size -= len(piece)


@dataclass(frozen=True)
class ItkHeader:
    """The values of a header that ITK does not return; (x, y, z).

    `sizes` are the voxel sizes in the header's `units`, None where it states none; without units they are µm.
    `is_patient` is as in `Directions`.
    """

    sizes: tuple[float, float, float] | None
    units: tuple[str, ...] = ()
    stand_in: StandIn | None = None
    is_patient: bool = False


def are_usable(sizes: Sequence[float] | None) -> bool:
    """Return whether ITK accepts the voxel sizes of a header, or lack of them."""
    return sizes is None or all(is_size(size) for size in sizes)


def check_data_file(header: Path, name: str) -> None:
    """Raise InputError unless the file of voxels that a header names lies in the header's folder, or below it."""
    if Path(name).is_absolute() or ".." in Path(name).parts or "\0" in name:
        raise InputError(
            f"{header} has its voxels in {name}, outside its folder; move them beside it and name them so."
        )


def describe_image(path: Path, io: str, header: ItkHeader) -> Description:
    """Describe the image of a file by ITK's `io`: a fourth axis is time, the components of a voxel are channels."""
    reader = _read_information(path, io, header.stand_in)
    count = len(reader.GetSize())
    if count not in (3, 4):
        raise InputError(f"{path} has {count} dimensions; only 3-D volumes can be aligned, with or without time.")
    stored = as_triple(reverse_axes(reader.GetSize()[:3]))
    directions = np.array(reader.GetDirection()).reshape(count, count)[2::-1, 2::-1]
    orientation = Orientation.nearest(directions)
    first, direction = straighten(str(path), reverse_axes(reader.GetOrigin()[:3]), directions)
    scales = [micrometres(unit) for unit in header.units] or [1.0, 1.0, 1.0]
    steps = reader.GetSpacing()[:3]  # as ITK understands the sizes
    stated = header.sizes if header.sizes is not None and not are_usable(header.sizes) else steps
    known = [
        None if header.sizes is None or scale is None else size * scale
        for size, scale in zip(stated, scales, strict=True)
    ]
    sizes = orientation.sizes(reverse_axes(known))
    units = [
        1 / step if size is None else (scale or 1.0) for size, step, scale in zip(known, steps, scales, strict=True)
    ]
    position = zip(first, orientation.triple(reverse_axes(units)), strict=True)
    shape = orientation.shape(stored)
    if header.sizes is not None and not header.units:
        note_micrometres(str(path))
    return Description(
        pixels=ItkPixels(path, io, orientation, header.stand_in, _bytes_of_voxels(path, reader)),
        shape=shape,
        dtype=_dtype(path, reader.GetPixelIDValue()),
        chunk_shape=shape,
        spacing=sizes,
        origin=orientation.origin([o * unit for o, unit in position], sizes, shape),
        channels=reader.GetNumberOfComponents(),
        timepoints=reader.GetSize()[3] if count == 4 else 1,
        files=(path,),
        spacing_note=unknown_unit(*header.units),
        orientation=orientation,
        directions=Directions(direction, is_patient=header.is_patient),
    )


@dataclass
class ItkPixels(WholeFilePixels):
    """The voxels of a file, all of which ITK reads at once by its `io`."""

    io: str
    orientation: Orientation
    stand_in: StandIn | None
    size: int  # bytes of all voxels

    def _load(self) -> Voxels:
        try:
            with _readable(self.path, self.stand_in, voxels=self.size + _SKIPPED) as path:
                image = sitk.ReadImage(str(path), imageIO=self.io)
        except (RuntimeError, OSError, EOFError) as error:
            raise DataError(f"{self.path} cannot be read: {_reason(error)}.") from error
        array: Voxels = sitk.GetArrayFromImage(image)
        array = array if image.GetNumberOfComponentsPerPixel() > 1 else array[..., np.newaxis]
        return self.orientation.turn(array if image.GetDimension() == 4 else array[np.newaxis])


def _read_information(path: Path, io: str, stand_in: StandIn | None) -> Any:  # noqa: ANN401 (SimpleITK's reader)
    reader = sitk.ImageFileReader()
    reader.SetImageIO(io)
    try:
        with _readable(path, stand_in, voxels=0) as readable:
            reader.SetFileName(str(readable))
            reader.ReadImageInformation()
    except RuntimeError as error:
        raise InputError(f"{path} is not an image that can be read: {_reason(error)}.") from error
    return reader


def _readable(path: Path, stand_in: StandIn | None, *, voxels: int) -> contextlib.AbstractContextManager[Path]:
    return contextlib.nullcontext(path) if stand_in is None else stand_in.written(path, voxels=voxels)


def _bytes_of_voxels(path: Path, reader: Any) -> int:  # noqa: ANN401 (SimpleITK's reader)
    sample = _dtype(path, reader.GetPixelIDValue()).itemsize
    return math.prod(int(n) for n in reader.GetSize()) * int(reader.GetNumberOfComponents()) * sample


def _dtype(path: Path, pixel_id: int) -> np.dtype[np.generic]:
    name = sitk.GetPixelIDValueAsString(pixel_id)
    match = re.fullmatch(r"(?:vector of )?(\d+)-bit (unsigned integer|signed integer|float)", name)
    if match is None:
        raise InputError(f"{path} holds {name} values; only integers and floats can be read.")
    kind = {"u": "u", "s": "i", "f": "f"}[match[2][0]]
    return np.dtype(f"{kind}{int(match[1]) // 8}")


def _reason(error: Exception) -> str:
    """Return ITK's own words, without the place in its source."""
    return str(error).strip().splitlines()[-1].strip().rstrip(".") if str(error).strip() else repr(error)
