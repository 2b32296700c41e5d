"""TIFF to write: an ImageJ hyperstack or an OME-TIFF, contiguous, without compression, BigTIFF if it is large.

`.ome.tif` is an OME-TIFF. Other names are ImageJ's, which Fiji opens with its voxel size, if ImageJ knows the type
and 4 GB are enough; otherwise they are OME-TIFF too. An origin is `xorigin` and its like for ImageJ,
in voxels and with the sign turned, and the position of the first plane in OME-XML.
https://docs.openmicroscopy.org/ome-model/latest/ome-tiff/specification.html
"""

from __future__ import annotations

import math
import re
from fractions import Fraction
from pathlib import Path
from typing import IO, Any
from xml.etree import ElementTree

import tifffile

import teralign
from teralign.errors import InputError
from teralign.grids import reverse_axes
from teralign.volumes.description import PyramidLayout
from teralign.volumes.one_file import FlatVoxels

CREATOR = "Teralign"
"""The beginning of the creator in OME-XML of our files, whose first plane has its true position."""

_OME_TYPES = {f"{kind}{bits}": f"{kind}{bits}" for kind in ("uint", "int") for bits in (8, 16, 32)}
_OME_TYPES |= {"float32": "float", "float64": "double"}
_IMAGEJ_TYPES = {"uint8", "uint16", "float32"}
_NAMESPACE = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
_CLASSIC_BYTES = 2**32 - 2**25  # leaves room for the pages' headers
_LARGEST = 2**32 - 1


def check_layout(uri: str | Path, layout: PyramidLayout) -> None:
    """Raise InputError for what a file cannot hold."""
    if layout.dtype.name not in _OME_TYPES:
        raise InputError(f"TIFF cannot hold {layout.dtype.name} values that others read; write to a .zarr.")


def begin(file: IO[bytes], layout: PyramidLayout, name: str) -> FlatVoxels:
    """Write the headers of all pages."""
    z, y, x = layout.levels[0].shape
    images = layout.timepoints * layout.channels
    small = images * math.prod((z, y, x)) * layout.dtype.itemsize <= _CLASSIC_BYTES
    if small and layout.dtype.name in _IMAGEJ_TYPES and not re.search(r"\.ome\.tiff?$", name.lower()):
        sizes = (layout.timepoints, z, layout.channels, y, x)
        with tifffile.TiffWriter(file, imagej=True, byteorder="<") as tiff:
            offset = _write_pages(tiff, layout, sizes, **_imagej(layout))
        return FlatVoxels(offset, "tzcyx", sizes)
    sizes = (layout.timepoints, layout.channels, z, y, x)
    with tifffile.TiffWriter(file, bigtiff=not small, ome=False, shaped=False, byteorder="<") as tiff:
        offset = _write_pages(tiff, layout, sizes, description=_ome_xml(layout, name), metadata=None)
    return FlatVoxels(offset, "tczyx", sizes)


def _write_pages(tiff: tifffile.TiffWriter, layout: PyramidLayout, sizes: tuple[int, ...], **metadata: Any) -> int:  # noqa: ANN401 (tifffile's)
    """Write the headers of the pages; return the byte at which their voxels begin."""
    options = {"photometric": "minisblack", "software": False, "returnoffset": True, **metadata}
    place: Any = tiff.write(None, shape=sizes, dtype=layout.dtype, **options)
    return int(place[0])


def _imagej(layout: PyramidLayout) -> dict[str, Any]:
    """Return ImageJ's metadata: the size of voxels in µm, their origin, and the time between timepoints."""
    grid = layout.levels[0]
    said: dict[str, Any] = {"axes": "TZCYX", "unit": "um", "spacing": grid.spacing[0]}
    for axis, origin, spacing in zip("zyx", grid.origin, grid.spacing, strict=True):
        said |= {f"{axis}origin": -origin / spacing} if origin else {}
    if layout.time_step is not None:
        said |= {"finterval": layout.time_step, "tunit": "sec"}
    if layout.channels > 1:
        said["mode"] = "composite"
    return {"resolution": (_per_unit(grid.spacing[2]), _per_unit(grid.spacing[1])), "metadata": said}


def _per_unit(spacing: float) -> tuple[int, int]:
    """Return the voxels in a µm as a fraction of two numbers of 32 bits."""
    near = Fraction(repr(spacing)).limit_denominator(min(_LARGEST, int(_LARGEST / spacing)))
    return near.denominator, near.numerator


def _ome_xml(layout: PyramidLayout, name: str) -> bytes:
    grid = layout.levels[0]
    root = ElementTree.Element("OME", xmlns=_NAMESPACE, Creator=f"{CREATOR} {teralign.__version__}")
    image = ElementTree.SubElement(root, "Image", ID="Image:0", Name=name)
    sizes = dict(zip("XYZ", reverse_axes(grid.shape), strict=True))
    sizes |= {"C": layout.channels, "T": layout.timepoints}
    said = {"ID": "Pixels:0", "DimensionOrder": "XYZCT", "Type": _OME_TYPES[layout.dtype.name], "BigEndian": "false"}
    said |= {f"Size{axis}": str(size) for axis, size in sizes.items()}
    for axis, spacing in zip("XYZ", reverse_axes(grid.spacing), strict=True):
        said |= {f"PhysicalSize{axis}": repr(spacing), f"PhysicalSize{axis}Unit": "µm"}
    if layout.time_step is not None:
        said |= {"TimeIncrement": repr(layout.time_step), "TimeIncrementUnit": "s"}
    pixels = ElementTree.SubElement(image, "Pixels", said)
    _add_channels(pixels, layout)
    planes = grid.shape[0] * layout.channels * layout.timepoints
    ElementTree.SubElement(pixels, "TiffData", IFD="0", PlaneCount=str(planes))
    place = {"TheZ": "0", "TheC": "0", "TheT": "0"}
    for axis, origin in zip("XYZ", reverse_axes(grid.origin), strict=True):
        place |= {f"Position{axis}": repr(origin), f"Position{axis}Unit": "µm"}
    ElementTree.SubElement(pixels, "Plane", place)
    content: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return content


def _add_channels(pixels: ElementTree.Element, layout: PyramidLayout) -> None:
    names = layout.channel_names or tuple(str(c) for c in range(layout.channels))
    for c, (name, settings) in enumerate(zip(names, layout.display, strict=True)):
        said = {"ID": f"Channel:0:{c}", "SamplesPerPixel": "1", "Name": name}
        if settings.colour is not None:
            opaque = bytes.fromhex(f"{settings.colour}FF")
            said["Color"] = str(int.from_bytes(opaque, "big", signed=True))
        ElementTree.SubElement(pixels, "Channel", said)
