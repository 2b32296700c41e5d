"""Slices of images in three planes, as grey pictures for a page that draws them.

The slices of one image in one plane are the tiles of one picture (a sprite), row by row. A page holds grey values
only and combines two images itself: any colours, checkerboard, wipe and blinking cost no further bytes.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from teralign.grids import FloatTriple, Grid, Region, as_float_triple, as_triple
from teralign.report.pictures import GAMMA

Thumbnail = NDArray[np.uint8]

AXES = {"xy": (0, 1, 2), "xz": (1, 0, 2), "zy": (2, 1, 0)}
"""For each plane the axis across it, and those along its rows and its columns, counted z, y, x."""

_LONGEST = 16_000  # pixels along a side of a WebP picture, which has at most 16383


@dataclass(frozen=True)
class SliceLook:
    """The longest side of a slice in pixels, slices of a plane at most, and the quality of WebP, from 0 to 100."""

    side: int
    slices: int
    quality: int


LOOKS = (
    SliceLook(512, 32, 80),
    SliceLook(448, 28, 75),
    SliceLook(384, 24, 70),
    SliceLook(320, 20, 65),
    SliceLook(256, 16, 60),
    SliceLook(192, 12, 50),
)
"""From the finest to the smallest; the first that keeps to a page's budget is used."""


@dataclass(frozen=True)
class SlicedPlane:
    """The slices of a plane: `indices` of voxels across it, the `width` and `height` of a tile, and tiles in a row.

    `at_um` are the positions of the slices across the plane in µm.
    """

    name: str
    width: int
    height: int
    columns: int
    indices: tuple[int, ...]
    at_um: tuple[float, ...]


@dataclass(frozen=True)
class SlicedGrid:
    """The slices of a grid in all planes; a pixel measures `pixel_um`, and the grid's faces begin at `corner_um`."""

    grid: Grid
    pixel_um: float
    planes: tuple[SlicedPlane, ...]

    @property
    def corner_um(self) -> FloatTriple:
        """The position (z, y, x) in µm of the outer corner of the first voxel."""
        return as_float_triple(o - s / 2 for o, s in zip(self.grid.origin, self.grid.spacing, strict=True))

    @classmethod
    def of(cls, grid: Grid, look: SliceLook, *, within: Region | None = None) -> SlicedGrid:
        """Spread the slices of a look evenly over the region `within` (default: the whole grid)."""
        inside = within or grid.region
        finest = min(grid.spacing)
        pixel = max(finest, max(grid.extent) / look.side)
        size = [max(1, round(length / pixel)) for length in grid.extent]
        planes = []
        for name, (across, rows, columns) in AXES.items():
            first, count = inside.start[across], inside.shape[across]
            number = min(count, look.slices)
            indices = tuple(first + (2 * i + 1) * count // (2 * number) for i in range(number))
            at = tuple(grid.origin[across] + i * grid.spacing[across] for i in indices)
            across_picture = max(1, min(math.ceil(math.sqrt(number)), _LONGEST // size[columns]))
            planes.append(SlicedPlane(name, size[columns], size[rows], across_picture, indices, at))
        return cls(grid, pixel, tuple(planes))

    @property
    def pixels(self) -> int:
        """Pixels of all slices of an image."""
        return sum(plane.width * plane.height * len(plane.indices) for plane in self.planes)


def grey(values: NDArray[np.float32], window: tuple[float, float]) -> Thumbnail:
    """Return values between those of `window`, shown as black and white, as bytes; dim ones are lifted."""
    low, high = window
    shown = np.clip((values - low) / (high - low), 0, 1) ** GAMMA
    return np.asarray(np.rint(shown * 255), np.uint8)


def sprites(
    image: NDArray[np.float32], sliced: SlicedGrid, window: tuple[float, float], quality: int
) -> dict[str, str]:
    """Return the slices of an image (z, y, x) for each plane as a WebP picture in a data URI."""
    return {plane.name: webp(_sprite(image, plane, window), quality) for plane in sliced.planes}


def choose_look(
    images: Sequence[tuple[NDArray[np.float32], tuple[float, float]]], grid: Grid, budget: int
) -> SliceLook:
    """Return the finest look with which the images, each with its window, take at most about `budget` characters.

    The bytes of a pixel come from the middle slice of each image and plane.
    """
    for look in LOOKS:
        sliced = SlicedGrid.of(grid, look)
        if sum(_predicted(image, sliced, window, look.quality) for image, window in images) <= budget:
            return look
    return LOOKS[-1]


def _predicted(image: NDArray[np.float32], sliced: SlicedGrid, window: tuple[float, float], quality: int) -> float:
    """Return the characters of an image's sprites, as its middle slices tell."""
    total = 0.0
    for plane in sliced.planes:
        middle = plane.indices[len(plane.indices) // 2]
        total += len(webp(_tile(image, plane, middle, window), quality)) * len(plane.indices)
    return total


def webp(picture: NDArray[np.uint8], quality: int) -> str:
    """Return a picture, grey (rows, columns) or RGB (rows, columns, 3), as WebP in a data URI."""
    return data_uri(picture, "WEBP", quality=quality, method=4)


def png(picture: NDArray[np.uint8]) -> str:
    """Return a grey picture (rows, columns) as PNG, which loses nothing, in a data URI."""
    return data_uri(picture, "PNG", optimize=True)


def data_uri(picture: NDArray[np.uint8], kind: str, **options: int) -> str:
    """Return a picture of this kind, in the names of Pillow, as a data URI."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, format=kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"


def tiled(tiles: Sequence[Thumbnail], columns: int) -> Thumbnail:
    """Return tiles (rows, columns) of one shape as one picture, `columns` of them in a row."""
    height, width = tiles[0].shape
    rows = -(-len(tiles) // columns)
    picture = np.zeros((rows * height, columns * width), np.uint8)
    for number, tile in enumerate(tiles):
        row, column = divmod(number, columns)
        picture[row * height : (row + 1) * height, column * width : (column + 1) * width] = tile
    return picture


def covered_box(covered: NDArray[np.bool_]) -> Region:
    """Return the smallest region (z, y, x) that holds all True voxels, or all voxels if none is True."""
    if not covered.any():
        return Region.whole(covered.shape)
    ends = [np.flatnonzero(covered.any(axis=tuple({0, 1, 2} - {axis})))[[0, -1]] for axis in range(3)]
    return Region(as_triple(int(a) for a, _ in ends), as_triple(int(b) + 1 for _, b in ends))


def page_planes(sliced: SlicedGrid) -> list[Mapping[str, object]]:
    """Return the planes as the page reads them."""
    return [
        {
            "name": p.name,
            "width": p.width,
            "height": p.height,
            "columns": p.columns,
            "at": [round(v, 3) for v in p.at_um],
        }
        for p in sliced.planes
    ]


def _sprite(image: NDArray[np.float32], plane: SlicedPlane, window: tuple[float, float]) -> Thumbnail:
    return tiled([_tile(image, plane, index, window) for index in plane.indices], plane.columns)


def _tile(image: NDArray[np.float32], plane: SlicedPlane, index: int, window: tuple[float, float]) -> Thumbnail:
    """Return one slice, averaged where it shrinks, as bytes (height, width)."""
    across, rows, columns = AXES[plane.name]
    flat = np.take(image, index, axis=across)
    flat = flat if rows < columns else flat.T
    shown = Image.fromarray(np.ascontiguousarray(flat, np.float32)).resize(
        (plane.width, plane.height), Image.Resampling.BILINEAR
    )
    return grey(np.asarray(shown, np.float32), window)
