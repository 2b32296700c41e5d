"""Geometry and channels of a TIFF as OME-XML, ImageJ or Micro-Manager (NDTiff) state them.

Many programs write them, not always as specified. A value that cannot be understood is left out, and the user must
give a voxel size that is left out. https://docs.openmicroscopy.org/ome-model/latest/,
https://imagej.net/ij/developer/api/ij/ij/io/TiffDecoder.html
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from xml.etree import ElementTree

import tifffile

from teralign.grids import FloatTriple
from teralign.volumes.description import DisplaySettings, StatedSpacing
from teralign.volumes.tiff_file import CREATOR
from teralign.volumes.units import is_blank, is_size, micrometres, parse_number, seconds, unknown_unit

log = logging.getLogger(__name__)

_PIXEL_SIZE, _Z_STEP = ("PixelSizeUm", "PixelSize_um"), "z-step_um"
_COLOUR_IN_HEX = re.compile(r"(?:#|0x)([0-9A-Fa-f]{6})(?:[0-9A-Fa-f]{2})?")


@dataclass(frozen=True)
class TiffMetadata:
    """The geometry and channels that a TIFF states, as in a `Description`."""

    spacing: StatedSpacing | None = None
    origin: FloatTriple = (0.0, 0.0, 0.0)
    names: tuple[str, ...] = ()
    display: tuple[DisplaySettings, ...] = ()
    time_step: float | None = None
    spacing_note: str = ""


def read_metadata(tiff: tifffile.TiffFile) -> TiffMetadata:
    """Return what OME-XML, ImageJ or Micro-Manager state of the first image; other TIFFs state nothing."""
    if tiff.is_ndtiff:
        return _read_ndtiff(tiff)
    if tiff.is_ome:
        return _read_ome(str(tiff.ome_metadata or ""), tiff.filename)
    return _read_imagej(tiff) if tiff.is_imagej else TiffMetadata()


def _read_ome(xml: str, name: str) -> TiffMetadata:
    try:
        root = ElementTree.fromstring(xml)
    except ElementTree.ParseError as error:
        log.warning("%s has OME-XML that cannot be understood (%s), and is read without it", name, error)
        return TiffMetadata()
    pixels = root.find("{*}Image/{*}Pixels")
    if pixels is None:
        return TiffMetadata()
    channels = pixels.findall("{*}Channel")
    units = [_ome_unit(pixels.attrib, axis) for axis in "ZYX"]
    z, y, x = (_ome_size(pixels.attrib, axis) for axis in "ZYX")
    own = all(is_size(size) for size in (z, y, x)) and root.get("Creator", "").startswith(CREATOR)
    return TiffMetadata(
        spacing=(z, y, x),
        origin=_ome_origin(pixels.find("{*}Plane")) if own else (0.0, 0.0, 0.0),
        names=tuple(c.get("Name") or str(i) for i, c in enumerate(channels)),
        display=tuple(DisplaySettings(_ome_colour(c.get("Color", ""))) for c in channels),
        time_step=_time_step(pixels.get("TimeIncrement"), pixels.get("TimeIncrementUnit", "s")),
        spacing_note=unknown_unit(*units) or _unclear(pixels.attrib),
    )


def _ome_unit(attributes: Mapping[str, str], axis: str) -> str:
    """Return the unit of an axis, which is µm where it is not given."""
    unit = attributes.get(f"PhysicalSize{axis}Unit", "")
    return "µm" if is_blank(unit) else unit


def _ome_size(attributes: Mapping[str, str], axis: str) -> float | None:
    unit = micrometres(_ome_unit(attributes, axis))
    size = parse_number(attributes.get(f"PhysicalSize{axis}", ""))
    return None if unit is None or size is None else size * unit


def _unclear(attributes: Mapping[str, str]) -> str:
    """Return the remark about sizes that are no numbers, "" where all are."""
    texts = {f"PhysicalSize{axis}": attributes.get(f"PhysicalSize{axis}", "").strip() for axis in "XYZ"}
    unclear = [f"{name} is {text!r}" for name, text in texts.items() if text and parse_number(text) is None]
    return f"its {' and '.join(unclear)}" if unclear else ""


def _ome_origin(plane: ElementTree.Element | None) -> FloatTriple:
    """Return the place of the first plane, which only files of Teralign state: microscopes put the stage there."""
    place = {} if plane is None else plane.attrib
    z, y, x = (parse_number(place.get(f"Position{axis}", "0")) or 0.0 for axis in "ZYX")
    return z, y, x


def _ome_colour(text: str) -> str | None:
    """Return a colour as RRGGBB: OME has RRGGBBAA as a signed number of 32 bits, some writers have #RRGGBBAA."""
    match = _COLOUR_IN_HEX.fullmatch(text.strip())
    if match:
        return match[1].upper()
    number = parse_number(text)
    return None if number is None or not math.isfinite(number) else f"{(int(number) & 0xFFFFFFFF) >> 8:06X}"


def _read_imagej(tiff: tifffile.TiffFile) -> TiffMetadata:
    """Resolution tags are voxels for each unit; units are those of ImageJ, y and z may have their own.

    The origin counts the voxels from the first one to position 0.
    """
    metadata = {name: str(value) for name, value in (tiff.imagej_metadata or {}).items()}
    units = {axis: metadata.get(f"{axis}unit") or metadata.get("unit", "") for axis in "zyx"}
    lengths = {"z": parse_number(metadata.get("spacing", "")), "y": None, "x": None}
    for axis in "yx":
        tag = tiff.pages.first.tags.get(f"{axis.upper()}Resolution")
        count, per = (0, 0) if tag is None else tag.value
        lengths[axis] = per / count if count else None
    z, y, x = (_length(lengths[axis], units[axis]) for axis in "zyx")
    sizes = (None if z is None else abs(z), y, x)
    placed = all(is_size(size) for size in sizes)
    oz, oy, ox = (-(parse_number(metadata.get(f"{axis}origin", "0")) or 0.0) for axis in "zyx")
    return TiffMetadata(
        spacing=sizes,
        origin=_product((oz, oy, ox), sizes) if placed else (0.0, 0.0, 0.0),
        time_step=_time_step(metadata.get("finterval"), metadata.get("tunit", "s")),
        spacing_note=unknown_unit(*units.values()),
    )


def _read_ndtiff(tiff: tifffile.TiffFile) -> TiffMetadata:
    """The sizes are those of the summary, or of the first plane; all in µm."""
    summary = (tiff.micromanager_metadata or {}).get("Summary") or {}
    tag = tiff.pages.first.tags.get("MicroManagerMetadata")
    plane = tag.value if tag is not None and isinstance(tag.value, dict) else {}
    pixel = next((content[key] for content in (summary, plane) for key in _PIXEL_SIZE if key in content), None)
    step = summary.get(_Z_STEP, plane.get(_Z_STEP))
    z, xy = parse_number(step), parse_number(pixel)
    return TiffMetadata(spacing=(None if z is None else abs(z), xy, xy))


def _length(size: float | None, unit: str) -> float | None:
    scale = micrometres(unit)
    return None if size is None or scale is None else size * scale


def _product(voxels: FloatTriple, sizes: StatedSpacing) -> FloatTriple:
    z, y, x = (n * (size or 0.0) + 0.0 for n, size in zip(voxels, sizes, strict=True))  # + 0.0: never -0.0
    return z, y, x


def _time_step(text: str | None, unit: str) -> float | None:
    size, value = seconds(unit), parse_number(text)
    return value * size if size is not None and is_size(value) else None
