"""The tiles of demo data: both rounds as a COLM microscope stores them, and where each tile truly lies."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile

from teralign.demo import DemoScan, DemoTile, Phantom, make_scan, tile_side
from teralign.demo.tiles import SHARED_SIDE
from teralign.grids import FloatTriple, Triple
from teralign.progress import Progress
from teralign.results import write_json

log = logging.getLogger(__name__)

TRUTH = "tiles_truth.json"


@dataclass(frozen=True)
class ScanFacts:
    """The scan of a round: the folder of its tiles, their `shape` and `spacing_um` (z, y, x), and each of them."""

    folder: str
    shape: Triple
    spacing_um: FloatTriple
    lamp: tuple[float, float]
    falloff: float
    tiles: Sequence[DemoTile]


@dataclass(frozen=True)
class TilesTruth:
    """The content of tiles_truth.json."""

    fixed: ScanFacts
    moving: ScanFacts


def write_demo_tiles(folder: Path, phantom: Phantom, count: int, seed: int, threads: int) -> None:
    """Write both rounds as `count` x `count` tiles to fixed_tiles and moving_tiles of `folder`, with the truth."""
    largest = tuple(max(pair) for pair in zip(phantom.fixed.grid.shape, phantom.moving.grid.shape, strict=True))
    side = tile_side((largest[0], largest[1], largest[2]), (count, count))
    found = []
    for view in (phantom.fixed, phantom.moving):
        scan = make_scan(view, side, (count, count), seed)
        name = f"{view.round.name}_tiles"
        _write_colm(folder / name, scan, count, threads)
        found.append(ScanFacts(name, scan.shape, view.grid.spacing, scan.lamp, scan.falloff, scan.tiles))
    write_json(folder / TRUTH, TilesTruth(*found))


def _write_colm(folder: Path, scan: DemoScan, count: int, threads: int) -> None:
    """Write a scan as COLM does: a folder a tile with a TIFF a plane, Experiment.ini and Scanned Cells.txt."""
    folder.mkdir()
    progress = Progress(len(scan.tiles), f"drawing the tiles of the {scan.view.round.name} round", log)

    def write(tile: DemoTile) -> None:
        name = f"LOC{tile.row * count + tile.column:03d}"
        place = folder / "VW0" / name
        place.mkdir(parents=True)
        for z, plane in enumerate(scan.draw(tile)):
            tifffile.imwrite(place / f"{name}_CHN00_PLN{z:04d}.tiff", np.ascontiguousarray(plane))

    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(write, scan.tiles):
            progress.advance()
    (folder / "Experiment.ini").write_text(_experiment(scan, count), "utf-8")
    cells = "\n".join(",".join("1" * count) for _ in range(count))
    (folder / "Scanned Cells.txt").write_text(cells + "\n", "utf-8")


def _experiment(scan: DemoScan, count: int) -> str:
    """Return the content of Experiment.ini; values stand in quotation marks there."""
    planes, _, side = scan.shape
    sections: dict[str, dict[str, object]] = {
        "North Scan Region": {
            "Num Horizontal": count,
            "Num Vertical": count,
            "Stack Step (mm)": f"{scan.view.grid.spacing[0] / 1000:.6f}",
        },
        "Experiment Settings": {
            "Num in stack (Top Left Corner)": planes,
            "X Resolution": side,
            "Num Enabled Channels": 1,
        },
        "North Scan Region Stats": {
            "Actual Horizontal Overlap (%)": 100 * SHARED_SIDE,
            "Actual Vertical Overlap (%)": 100 * SHARED_SIDE,
        },
        "Objectives": {"North": "10x"},
    }
    lines = []
    for section, keys in sections.items():
        lines += [f"[{section}]", *(f'{key} = "{value}"' for key, value in keys.items())]
    return "\n".join(lines) + "\n"
