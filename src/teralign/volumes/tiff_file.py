"""TIFF to write: an ImageJ hyperstack or an OME-TIFF, contiguous, without compression, BigTIFF if it is large.

A name that ends in `.ome.tif` gives an OME-TIFF. Other names give an ImageJ hyperstack, which Fiji opens with its
voxel size, if ImageJ knows the type and the file is below 4 GB; else an OME-TIFF too. The origin is in `xorigin`,
`yorigin` and `zorigin` for ImageJ, in voxels and with the opposite sign, and in the position of the first plane for
OME-XML.
https://docs.openmicroscopy.org/ome-model/latest/ome-tiff/specification.html
"""

from __future__ import annotations

import math
import re
from fractions import Fraction
from pathlib import Path
from typing import IO, cast
from xml.etree import ElementTree

import tifffile

import teralign
from teralign.errors import InputError
from teralign.grids import reverse_axes
from teralign.volumes.description import PyramidLayout
from teralign.volumes.one_file import FlatVoxels

CREATOR = "Teralign"
"""The creator in OME-XML of files that Teralign wrote begins so: only there the first plane gives the origin."""

_OME_TYPES = {f"{kind}{bits}": f"{kind}{bits}" for kind in ("uint", "int") for bits in (8, 16, 32)}
_OME_TYPES |= {"float32": "float", "float64": "double"}
_IMAGEJ_TYPES = {"uint8", "uint16", "float32"}
_NAMESPACE = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
CLASSIC_BYTES = 2**32 - 2**25
"""The voxels that a TIFF with offsets of 32 bits can hold: 32 MB are left for the headers of the pages."""

_LARGEST_COUNT = 2**32 - 1  # of 32 bits


def check_layout(uri: str | Path, layout: PyramidLayout) -> None:
    """Raise InputError for a layout that the format cannot hold."""
    if layout.dtype.name not in _OME_TYPES:
        raise InputError(f"TIFF cannot hold {layout.dtype.name} values that others read; write to a .zarr.")


def begin(file: IO[bytes], layout: PyramidLayout, name: str, *, classic_bytes: int = CLASSIC_BYTES) -> FlatVoxels:
    """Write the headers of all pages; more than `classic_bytes` of voxels make a BigTIFF."""
    z, y, x = layout.levels[0].shape
    images = layout.timepoints * layout.channels
    small = images * math.prod((z, y, x)) * layout.dtype.itemsize <= classic_bytes
    if small and layout.dtype.name in _IMAGEJ_TYPES and not re.search(r"\.ome\.tiff?$", name.lower()):
        sizes = (layout.timepoints, z, layout.channels, y, x)
        with tifffile.TiffWriter(file, imagej=True, byteorder="<") as tiff:
            offset = _write_pages(tiff, layout, sizes, metadata=_imagej(layout), resolution=_resolution(layout))
        return FlatVoxels(offset, "tzcyx", sizes)
    sizes = (layout.timepoints, layout.channels, z, y, x)
    with tifffile.TiffWriter(file, bigtiff=not small, ome=False, shaped=False, byteorder="<") as tiff:
        offset = _write_pages(tiff, layout, sizes, description=_ome_xml(layout, name))
    return FlatVoxels(offset, "tczyx", sizes)


def _write_pages(
    tiff: tifffile.TiffWriter,
    layout: PyramidLayout,
    sizes: tuple[int, ...],
    *,
    metadata: dict[str, object] | None = None,
    resolution: tuple[tuple[int, int], tuple[int, int]] | None = None,
    description: bytes | None = None,
) -> int:
    """Write the headers of the pages, and return where their voxels begin."""
    place = tiff.write(
        None,
        shape=sizes,
        dtype=layout.dtype,
        photometric="minisblack",
        software=False,
        returnoffset=True,
        metadata=metadata,
        resolution=resolution,
        description=description,
    )
    return cast("tuple[int, int]", place)[0]


def _imagej(layout: PyramidLayout) -> dict[str, object]:
    """Return what ImageJ reads: distance of planes in µm, origin in voxels, and time between timepoints."""
    grid = layout.levels[0]
    metadata: dict[str, object] = {"axes": "TZCYX", "unit": "um", "spacing": grid.spacing[0]}
    for axis, origin, spacing in zip("zyx", grid.origin, grid.spacing, strict=True):
        metadata |= {f"{axis}origin": -origin / spacing} if origin else {}
    if layout.time_step is not None:
        metadata |= {"finterval": layout.time_step, "tunit": "sec"}
    if layout.channels > 1:
        metadata["mode"] = "composite"
    return metadata


def _resolution(layout: PyramidLayout) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the voxels in a µm along x and y, as the tags of the pages have them."""
    _, y, x = layout.levels[0].spacing
    return _per_unit(x), _per_unit(y)


def _per_unit(spacing: float) -> tuple[int, int]:
    """Return the voxels in a µm as a fraction of two numbers of 32 bits."""
    ratio = Fraction(repr(spacing)).limit_denominator(min(_LARGEST_COUNT, int(_LARGEST_COUNT / spacing)))
    return ratio.denominator, ratio.numerator


def _ome_xml(layout: PyramidLayout, name: str) -> bytes:
    grid = layout.levels[0]
    root = ElementTree.Element("OME", xmlns=_NAMESPACE, Creator=f"{CREATOR} {teralign.__version__}")
    image = ElementTree.SubElement(root, "Image", ID="Image:0", Name=name)
    sizes = dict(zip("XYZ", reverse_axes(grid.shape), strict=True))
    sizes |= {"C": layout.channels, "T": layout.timepoints}
    attributes = {
        "ID": "Pixels:0",
        "DimensionOrder": "XYZCT",
        "Type": _OME_TYPES[layout.dtype.name],
        "BigEndian": "false",
    }
    attributes |= {f"Size{axis}": str(size) for axis, size in sizes.items()}
    for axis, spacing in zip("XYZ", reverse_axes(grid.spacing), strict=True):
        attributes |= {f"PhysicalSize{axis}": repr(spacing), f"PhysicalSize{axis}Unit": "µm"}
    if layout.time_step is not None:
        attributes |= {"TimeIncrement": repr(layout.time_step), "TimeIncrementUnit": "s"}
    pixels = ElementTree.SubElement(image, "Pixels", attributes)
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
        attributes = {"ID": f"Channel:0:{c}", "SamplesPerPixel": "1", "Name": name}
        if settings.colour is not None:
            opaque = bytes.fromhex(f"{settings.colour}FF")
            attributes["Color"] = str(int.from_bytes(opaque, "big", signed=True))
        ElementTree.SubElement(pixels, "Channel", attributes)
