"""TIFF, OME-TIFF and ImageJ stacks, through tifffile.

The voxel size is OME's PhysicalSize, or ImageJ's spacing and resolution where ImageJ names a unit; other TIFFs tell
none. Voxels that lie uncompressed and in one piece are mapped into memory; others are decoded tile by tile.
"""

from __future__ import annotations

import struct
import threading
import weakref
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import tifffile
import zarr
from numpy.typing import NDArray

from teralign.errors import DataError, InputError
from teralign.grids import FloatTriple, Region
from teralign.volumes.description import Description, DisplaySettings
from teralign.volumes.files import opening
from teralign.volumes.tiff_file import CREATOR
from teralign.volumes.units import micrometres, seconds
from teralign.volumes.whole_file import check_one_image

_PAGES = "QI"
_SAMPLES = "S"
DAMAGE = (
    OSError,
    ValueError,
    RuntimeError,
    EOFError,
    KeyError,
    IndexError,
    zlib.error,
    struct.error,
    tifffile.TiffFileError,
)
"""What tifffile and its decoders raise for files that are damaged."""


def describe(container: Path, dataset: str) -> Description:
    """Describe the first image of a file."""
    check_one_image(container, dataset)
    with opening(container):
        try:
            with tifffile.TiffFile(container) as tiff:
                return _describe(container, tiff)
        except (tifffile.TiffFileError, IndexError, struct.error, ElementTree.ParseError) as error:
            raise InputError(f"{container} is not a TIFF that can be read: {error}.") from error


@dataclass
class TiffPixels:
    """The voxels of the first image in a file; `axes` are those of its array, samples as channels."""

    path: Path
    axes: str
    _array: Any = field(default=None, init=False, repr=False, compare=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False, compare=False)

    def __reduce__(self) -> tuple[type[TiffPixels], tuple[Path, str]]:
        return TiffPixels, (self.path, self.axes)

    def read(self, region: Region, channel: int, timepoint: int) -> NDArray[Any]:
        """The (z, y, x) voxels of `region`. Raises DataError when they cannot be read."""
        chosen: dict[str, Any] = dict(zip("zyx", region.slices, strict=True)) | {"c": channel, "t": timepoint}
        left = [axis for axis in self.axes if axis in "zyx"]
        try:
            found = np.asarray(self._open()[tuple(chosen.get(axis, 0) for axis in self.axes)])
        except DAMAGE as error:
            raise DataError(
                f"{self.path} cannot be read from {region.start} to {region.stop} (zyx): {error}."
            ) from error
        turned = found.transpose([left.index(axis) for axis in "zyx"])
        return np.ascontiguousarray(turned, dtype=found.dtype.newbyteorder("="))

    def _open(self) -> Any:  # noqa: ANN401 (a memory map or a zarr array)
        """What can be indexed along `axes` and reads only what is asked for."""
        with self._lock:
            if self._array is None:
                tiff = tifffile.TiffFile(self.path)
                weakref.finalize(self, tiff.close)
                self._array = _pixels_of(tiff, self.path)
            return self._array


def _pixels_of(tiff: tifffile.TiffFile, path: Path) -> Any:  # noqa: ANN401 (a memory map or a zarr array)
    series = tiff.series[0]
    if any(page is None for page in series.pages):
        raise ValueError("some of its pages are missing")
    if series.dataoffset is None:
        return zarr.open_array(series.aszarr(), mode="r")
    dtype = np.dtype(series.dtype).newbyteorder(tiff.byteorder)
    return np.memmap(path, dtype=dtype, mode="r", offset=series.dataoffset, shape=series.shape)


def _describe(path: Path, tiff: tifffile.TiffFile) -> Description:
    series = tiff.series[0]
    axes = _axes(path, series.axes)
    size = dict(zip(axes, series.shape, strict=True))
    if series.dtype is None or np.dtype(series.dtype).kind not in "buif":
        raise InputError(f"{path} holds {series.dtype} values; only integers, floats and booleans can be read.")
    told = stated(tiff)
    channels = size.get("c", 1)
    tile_y, tile_x = series.keyframe.chunks[:2] if series.dataoffset is None else (size["y"], size["x"])
    return Description(
        pixels=TiffPixels(path, axes),
        shape=(size["z"], size["y"], size["x"]),
        dtype=np.dtype(series.dtype).newbyteorder("="),
        chunk_shape=(1, tile_y, tile_x),
        spacing=told.spacing,
        origin=told.origin,
        channels=channels,
        timepoints=size.get("t", 1),
        channel_names=told.names if len(told.names) == channels else (),
        display=told.display if len(told.display) == channels else (),
        time_step=told.time_step,
        files=(path,),
    )


def _axes(path: Path, axes: str) -> str:
    """Tifffile's axes as t, c, z, y, x: pages that nobody named are planes, colour samples are channels."""
    letters = axes.lower()
    if "z" not in letters:
        letters = next((letters.replace(p.lower(), "z", 1) for p in _PAGES if p in axes), letters)
    if "c" not in letters:
        letters = letters.replace(_SAMPLES.lower(), "c")
    if "z" not in letters:
        raise InputError(
            f"{path} is a 2-D image (axes {axes}); only 3-D volumes can be aligned: of slices, give the folder."
        )
    if not set("zyx") <= set(letters) <= set("tczyx") or len(set(letters)) < len(letters):
        raise InputError(f"{path} has the axes {axes}; only t, c, z, y and x can be read.")
    return letters


@dataclass(frozen=True)
class Stated:
    """What the metadata of a TIFF say: spacing (z, y, x) in µm, names and display of channels, the time step."""

    spacing: FloatTriple | None = None
    origin: FloatTriple = (0.0, 0.0, 0.0)
    names: tuple[str, ...] = ()
    display: tuple[DisplaySettings, ...] = ()
    time_step: float | None = None


def stated(tiff: tifffile.TiffFile) -> Stated:
    """What OME-XML or ImageJ says of the first image; nothing where nobody says anything."""
    if tiff.is_ome:
        return _ome(tiff)
    return _imagej(tiff) if tiff.is_imagej else Stated()


def _ome(tiff: tifffile.TiffFile) -> Stated:
    root = ElementTree.fromstring(tiff.ome_metadata or "<OME/>")
    pixels = root.find("{*}Image/{*}Pixels")
    if pixels is None:
        return Stated()
    channels = pixels.findall("{*}Channel")
    spacing = _triple([_ome_size(pixels.attrib, axis) for axis in "ZYX"])
    ours = spacing is not None and root.get("Creator", "").startswith(CREATOR)
    return Stated(
        spacing=spacing,
        origin=_ome_origin(pixels.find("{*}Plane")) if ours else (0.0, 0.0, 0.0),
        names=tuple(c.get("Name", str(i)) for i, c in enumerate(channels)),
        display=tuple(DisplaySettings(_ome_colour(c.get("Color"))) for c in channels),
        time_step=_time_step(pixels.get("TimeIncrement"), pixels.get("TimeIncrementUnit", "s")),
    )


def _ome_size(attributes: Mapping[str, str], axis: str) -> float | None:
    unit = micrometres(attributes.get(f"PhysicalSize{axis}Unit", "µm"))
    size = attributes.get(f"PhysicalSize{axis}")
    return None if unit is None or size is None else float(size) * unit


def _ome_origin(plane: ElementTree.Element | None) -> FloatTriple:
    """Where the first plane lies, which only files of ours say: microscopes put the place of the stage there."""
    place = {} if plane is None else plane.attrib
    z, y, x = (float(place.get(f"Position{axis}", 0)) for axis in "ZYX")
    return z, y, x


def _ome_colour(colour: str | None) -> str | None:
    """RRGGBB of OME's colours: RRGGBBAA as a signed number of 32 bits."""
    return None if colour is None else f"{(int(colour) & 0xFFFFFFFF) >> 8:06X}"


def _imagej(tiff: tifffile.TiffFile) -> Stated:
    """Resolution tags are pixels a unit, the unit is ImageJ's own; origins are the voxels that lie at 0."""
    metadata = tiff.imagej_metadata or {}
    step = _time_step(metadata.get("finterval"), str(metadata.get("tunit", "s")))
    unit = micrometres(str(metadata.get("unit", "")))
    tags = tiff.pages.first.tags
    resolution = [tags[name].value for name in ("YResolution", "XResolution") if name in tags]
    if unit is None or "spacing" not in metadata or len(resolution) < 2:
        return Stated(time_step=step)
    y, x = (per / count if count else None for count, per in resolution)
    sizes = _triple([None if s is None else s * unit for s in (abs(float(metadata["spacing"])), y, x)])
    if sizes is None:
        return Stated(time_step=step)
    oz, oy, ox = (-float(metadata.get(f"{axis}origin", 0)) * s for axis, s in zip("zyx", sizes, strict=True))
    return Stated(sizes, (oz + 0.0, oy + 0.0, ox + 0.0), time_step=step)


def _time_step(value: str | float | None, unit: str) -> float | None:
    size = seconds(unit)
    return None if value is None or size is None or float(value) <= 0 else float(value) * size


def _triple(sizes: list[float | None]) -> FloatTriple | None:
    z, y, x = sizes
    return (z, y, x) if z and y and x and min(z, y, x) > 0 else None
