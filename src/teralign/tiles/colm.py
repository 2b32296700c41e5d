"""Scans of a COLM microscope: Experiment.ini, Scanned Cells.txt, and a folder VW0/LOC### of planes for each tile.

LOC counts column + row · columns. A plane is a file …CHN0c…PLN####….tiff. The step between planes may be a fraction
of a µm, and the size of a pixel follows from the objective and the number of pixels.
"""

from __future__ import annotations

import configparser
import re
from collections.abc import Sequence
from pathlib import Path

from teralign.errors import InputError, understanding
from teralign.grids import FloatTriple, Triple
from teralign.tiles.model import TileSource
from teralign.tiles.scan import Scan, ScannedTile

EXPERIMENT = "Experiment.ini"
_CELLS = "Scanned Cells.txt"
_CAMERA = 2048  # pixels along a side of the camera, for which the sizes below hold
_PIXEL_UM = {4: 1.46, 10: 0.585, 25: 0.234}  # by magnification
_CHANNEL = re.compile(r"CHN(\d+)")


def read_colm(folder: Path) -> Scan:
    """Return the scan in an experiment's folder, its positions by the nominal overlap.

    Raises InputError for metadata that lack a value, and cells that do not fit the grid.
    """
    with understanding(folder / EXPERIMENT):
        settings = _Settings(folder / EXPERIMENT)
        rows, columns = settings.whole("Scan Region", "Num Vertical"), settings.whole("Scan Region", "Num Horizontal")
        planes = settings.whole("Experiment Settings", "Num in stack (Top Left Corner)")
        pixels = settings.whole("Experiment Settings", "X Resolution")
        overlap_y = settings.number("Scan Region Stats", "Actual Vertical Overlap (%)") / 100
        overlap_x = settings.number("Scan Region Stats", "Actual Horizontal Overlap (%)") / 100
        spacing = settings.spacing(pixels)
    cells = _scanned_cells(folder / _CELLS, rows, columns)
    view = folder / "VW0"
    scanned = [(row, column) for row in range(rows) for column in range(columns) if cells[row][column]]
    names = _channels([_location(view, row * columns + column) for row, column in scanned], view)
    tiles = []
    for row in range(rows):
        for column in range(columns):
            location = _location(view, row * columns + column)
            sources = tuple(TileSource(str(location.absolute()), planes=f"*CHN{name}*PLN*") for name in names)
            tiles.append(
                ScannedTile(
                    name=location.name,
                    position=(0.0, row * pixels * (1 - overlap_y), column * pixels * (1 - overlap_x)),
                    sources=sources if cells[row][column] else (),
                    index=(0, row, column),
                )
            )
    shape: Triple = (planes, pixels, pixels)
    channels = [f"CHN{name}" for name in names]
    return Scan(f"the COLM experiment {folder.name}", tiles, spacing, channels, shape, unit="voxels")


class _Settings:
    """The values of Experiment.ini, in quotes or not; sections are found by the end of their name."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._parser = configparser.ConfigParser(interpolation=None, strict=False)
        try:
            self._parser.read_string(path.read_text(encoding="utf-8-sig", errors="replace"))
        except configparser.Error as error:
            raise ValueError(str(error)) from error

    def text(self, section: str, key: str) -> str:
        for name in self._parser.sections():
            if name.endswith(section) and self._parser.has_option(name, key):
                return self._parser.get(name, key).strip().strip('"')
        raise InputError(f"{self._path} lacks {key!r} in a section that ends in [{section}]; add it.")

    def number(self, section: str, key: str) -> float:
        return float(self.text(section, key))

    def whole(self, section: str, key: str) -> int:
        value = int(self.text(section, key))
        if value < 1:
            raise InputError(f"{self._path} gives {value} for {key!r}; correct it.")
        return value

    def spacing(self, pixels: int) -> FloatTriple | None:
        """Return the voxel size (z, y, x) in µm, None for an objective whose size of a pixel is not known."""
        step = self.number("Scan Region", "Stack Step (mm)") * 1000
        match = re.match(r"\s*(\d+)\s*x", self.text("Objectives", "North"), re.IGNORECASE)
        pixel = _PIXEL_UM.get(int(match[1])) if match else None
        if pixel is None:
            return None
        pixel *= _CAMERA / pixels
        return step, pixel, pixel


def _location(view: Path, number: int) -> Path:
    return view / f"LOC{number:03d}"


def _scanned_cells(path: Path, rows: int, columns: int) -> list[list[bool]]:
    """Return whether each cell was scanned, [row][column]; all were where there is no such file."""
    if not path.is_file():
        return [[True] * columns for _ in range(rows)]
    lines = [line for line in path.read_text(encoding="utf-8-sig", errors="replace").splitlines() if line.strip()]
    cells = [[cell.strip() == "1" for cell in line.strip().rstrip(",").split(",")] for line in lines]
    if len(cells) != rows or any(len(row) != columns for row in cells):
        raise InputError(
            f"{path} does not hold {rows} rows of {columns} cells, as {EXPERIMENT} says; correct one of them."
        )
    return cells


def _channels(locations: Sequence[Path], view: Path) -> list[str]:
    """Return the numbers of the channels, such as 00, of the first location that holds any."""
    for location in locations:
        if location.is_dir():
            found = {match[1] for path in location.iterdir() if (match := _CHANNEL.search(path.name))}
            if found:
                return sorted(found)
    raise InputError(f"{view} holds no folder LOC### with files CHN…PLN…; check the folder of the experiment.")
