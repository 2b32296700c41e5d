"""Overlays of two images: the fixed one in magenta, the moving one in green, so that equal parts are white.

A sheet has a column for each state of an alignment. A column shows three planes through one point, unfolded like a
box: xy, to its right zy (same rows), below it xz (same columns). All axes have the same scale in µm.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from teralign.grids import FloatTriple, Triple

GreyPlane: TypeAlias = NDArray[np.float32]
Picture: TypeAlias = NDArray[np.uint8]

COLUMN_WIDTH = 560
_GAP = 6
HEADER = 46
GAMMA = 0.75  # lifts dim tissue
_PAPER = (16, 16, 20)
_INK = (235, 235, 235)
_MAGENTA, _GREEN = (255, 0, 255), (0, 255, 0)


@dataclass(frozen=True)
class Column:
    """One state of an alignment: the moving image on the fixed grid (z, y, x), and the text above it."""

    title: str
    note: str
    aligned: NDArray[np.float32]


def overlay(fixed: GreyPlane, moving: GreyPlane) -> Picture:
    """Return two planes with values from 0 (black) to 1 (full) as one RGB picture (rows, columns, 3)."""
    a, b = (np.clip(plane, 0.0, 1.0) ** GAMMA * 255 for plane in (fixed, moving))
    return np.stack([a, b, a], axis=-1).round().astype(np.uint8)


def overlay_sheet(
    fixed: NDArray[np.float32],
    columns: Sequence[Column],
    *,
    spacing: FloatTriple,
    at: Triple,
    fixed_window: tuple[float, float],
    moving_window: tuple[float, float],
) -> Picture:
    """Return the sheet as RGB (rows, columns, 3).

    `fixed` (z, y, x) has voxels of `spacing` µm (z, y, x). The planes go through voxel `at`. A window is the pair of
    values shown as black and as full colour.
    """
    extent = [n * s for n, s in zip(fixed.shape, spacing, strict=True)]
    pixel = (extent[2] + extent[0]) / (COLUMN_WIDTH - _GAP)
    blocks = [
        _fold_out(_windowed(fixed, fixed_window), _windowed(column.aligned, moving_window), spacing, at, pixel)
        for column in columns
    ]
    height, width = blocks[0].shape[:2]
    sheet = Image.new("RGB", (len(blocks) * (width + 2 * _GAP), height + HEADER + _GAP), _PAPER)
    draw = ImageDraw.Draw(sheet)
    for number, (column, block) in enumerate(zip(columns, blocks, strict=True)):
        left = number * (width + 2 * _GAP) + _GAP
        sheet.paste(Image.fromarray(block), (left, HEADER))
        draw.text((left, 4), column.title, fill=_INK, font=ImageFont.load_default(20))
        draw.text((left, 28), column.note, fill=_INK, font=ImageFont.load_default(13))
    z, y, x = (_size(length, pixel) for length in extent)
    below, right = HEADER + y + _GAP, _GAP + x + _GAP
    planes = {"xy": (_GAP, HEADER, x, y), "zy": (right, HEADER, z, y), "xz": (_GAP, below, x, z)}
    _name_planes(draw, planes)
    _draw_scale_bar(draw, (_GAP + 10, HEADER + y - 12), x, pixel)
    _draw_legend(draw, (right, below), room=(z, z))
    return np.asarray(sheet)


def portrait(image: NDArray[np.float32], *, spacing: FloatTriple, window: tuple[float, float]) -> Picture:
    """Return the three middle planes of an image (z, y, x) in gray, with a scale bar, as RGB (rows, columns, 3).

    Its voxels measure `spacing` µm (z, y, x). `window` is the pair of values shown as black and as white.
    """
    extent = [n * s for n, s in zip(image.shape, spacing, strict=True)]
    pixel = (extent[2] + extent[0]) / (COLUMN_WIDTH - _GAP)
    z, y, x = (n // 2 for n in image.shape)
    shown = _windowed(image, window)
    sheet = Image.fromarray(_fold_out(shown, shown, spacing, (z, y, x), pixel))
    corner = (10, _size(extent[1], pixel) - 12)
    _draw_scale_bar(ImageDraw.Draw(sheet), corner, _size(extent[2], pixel), pixel)
    return np.asarray(sheet)


def scale_bar_length(width: float) -> float:
    """Return the longest of 1, 2, 5, 10, … µm that is at most a third of `width` µm."""
    longest = width / 3
    power = 10.0 ** math.floor(math.log10(longest))
    return max(step * power for step in (1, 2, 5) if step * power <= longest * (1 + 1e-9))


def _windowed(array: NDArray[np.float32], window: tuple[float, float]) -> NDArray[np.float32]:
    low, high = window
    return np.asarray((array - low) / (high - low), dtype=np.float32)


def _fold_out(
    fixed: NDArray[np.float32], moving: NDArray[np.float32], spacing: FloatTriple, at: Triple, pixel: float
) -> Picture:
    """Return the three planes of both images as one RGB picture with a dark corner."""
    z, y, x = (_size(n * s, pixel) for n, s in zip(fixed.shape, spacing, strict=True))
    picture = np.full((y + _GAP + z, x + _GAP + z, 3), _PAPER, dtype=np.uint8)

    def show(rows: slice, columns: slice, plane: tuple[int | slice, ...], *, turn: bool = False) -> None:
        size = (columns.stop - columns.start, rows.stop - rows.start)
        pair = [_resized(image[plane].T if turn else image[plane], size) for image in (fixed, moving)]
        picture[rows, columns] = overlay(*pair)

    every = slice(None)
    show(slice(0, y), slice(0, x), (at[0], every, every))
    show(slice(0, y), slice(x + _GAP, x + _GAP + z), (every, every, at[2]), turn=True)
    show(slice(y + _GAP, y + _GAP + z), slice(0, x), (every, at[1], every))
    return picture


def _resized(plane: GreyPlane, size: tuple[int, int]) -> GreyPlane:
    """Return the plane with `size` (width, height) pixels, averaged where it shrinks."""
    image = Image.fromarray(np.ascontiguousarray(plane)).resize(size, Image.Resampling.BILINEAR)
    return np.asarray(image, dtype=np.float32)


def _size(length: float, pixel: float) -> int:
    return max(1, round(length / pixel))


def _draw_scale_bar(draw: ImageDraw.ImageDraw, left_bottom: tuple[int, int], width: int, pixel: float) -> None:
    length = scale_bar_length(width * pixel)
    left, bottom = left_bottom
    draw.rectangle((left, bottom - 4, left + round(length / pixel), bottom), fill=_INK)
    font, number = ImageFont.load_default(14), f"{length:g} "
    draw.text((left, bottom - 24), number + "um", fill=_INK, font=font)
    stem, _, _, foot = draw.textbbox((left + font.getlength(number), bottom - 24), "u", font=font)
    draw.rectangle((round(stem), foot, round(stem), foot + 3), fill=_INK)  # makes the u a µ, which the font lacks


def _name_planes(draw: ImageDraw.ImageDraw, planes: Mapping[str, tuple[int, int, int, int]]) -> None:
    """Write the axes of each plane (left, top, width, height), across and down, in its corner if there is room."""
    font = ImageFont.load_default(12)
    for name, (left, top, width, height) in planes.items():
        at = (left + 3, top + 1)
        box = draw.textbbox(at, name, font=font)
        if box[2] < left + width and box[3] < top + height:
            draw.rectangle(box, fill=_PAPER)
            draw.text(at, name, fill=_INK, font=font)


def _draw_legend(draw: ImageDraw.ImageDraw, corner: tuple[int, int], *, room: tuple[int, int]) -> None:
    """Name the colours in the empty corner of the first column, in letters that fit there."""
    size = max(8, min(16, room[0] // 6, room[1] // 5))
    font = ImageFont.load_default(size)
    for line, (text, colour) in enumerate((("fixed", _MAGENTA), ("moving", _GREEN), ("both", (255, 255, 255)))):
        draw.text((corner[0] + 4, corner[1] + 2 + line * (size + 3)), text, fill=colour, font=font)
