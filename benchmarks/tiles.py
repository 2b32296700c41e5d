"""Positions of tiles of known truth, ours beside multiview-stitcher: error, tiles thrown off, and CPU time.

    TERALIGN_TEST_DATA=… TERALIGN_TILES_TOOLS=FOLDER python -m benchmarks tiles [--seeds 1 2 …] [--peer PYTHON]

FOLDER holds `make_tiles.py` (cuts tiles from a real volume), `score_tiles.py` and `run_stitcher.py`, which runs the
peer with the Python PYTHON that has it. A seed decides everything: the grid, overlap, signal-to-noise ratio and the
faults of stage and camera. CPU is that of measuring and
solving, without reading, on one thread.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.costs import with_threads
from benchmarks.tables import Row, markdown
from teralign.grids import as_float_triple
from teralign.stitching.align_pairs import PairAligner, pair_blocks
from teralign.stitching.pairs import PairSet
from teralign.stitching.place import place_tiles
from teralign.tiles import TileSet
from teralign.tiles.importing import import_scan

COLUMNS = {
    "seed": "seed",
    "grid": "grid",
    "tile": "tile",
    "overlap %": "overlap",
    "SNR": "snr",
    "stage median": "stage:.2f",
    "stage max": "stage_max:.2f",
    "tool": "tool",
    "tissue median": "median:.3f",
    "p95": "p95:.3f",
    "max": "max:.3f",
    "others' stage": "others_stage:.2f",
    "others": "others:.2f",
    "unflagged": "unflagged",
    "thrown": "thrown",
    "CPU s": "cpu_s:.1f",
    "µs a voxel": "voxel_us:.3f",
}
"""Errors in voxels. Others are tiles without tissue: the median of what the stage is off, and of what is left."""

TOOLS_VARIABLE = "TERALIGN_TILES_TOOLS"
_VOXELS = 36e6
_LEAST_OVERLAP = 24  # voxels


@dataclass(frozen=True)
class Tools:
    """The folder of the generator and the scores, the volume that is cut, and the Python of the peer."""

    folder: Path
    volume: Path
    peer: Path | None = None

    def run(self, script: str, *arguments: object, python: Path | str = sys.executable) -> dict[str, object]:
        """Run a script on one thread; return the JSON of its last line."""
        command = [str(python), str(self.folder / script), *map(str, arguments)]
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=with_threads(1))
        found: dict[str, object] = json.loads(done.stdout.strip().splitlines()[-1])
        return found


def case_options(seed: int, voxels: float = _VOXELS) -> dict[str, float | str]:
    """Return the options of `make_tiles.py` for a seed, of at most about `voxels` voxels in all tiles."""
    rng = np.random.default_rng(seed)
    overlap = int(rng.integers(8, 21))
    side = -(-_LEAST_OVERLAP * 100 // overlap) + int(rng.integers(0, 65))
    side = -(-side // 8) * 8
    depth = int(rng.integers(24, 37))
    rows, columns = (int(n) for n in rng.integers(4, 13, 2))
    while rows * columns * depth * side**2 > voxels and max(rows, columns) > 4:
        rows, columns = (rows - 1, columns) if rows >= columns else (rows, columns - 1)
    hard, chance = rng.uniform(size=2)  # how far the stage errs, and how much of that is jitter
    extent = max(rows, columns) * side * (1 - overlap / 100)
    found: dict[str, float | str] = {
        "grid": f"{rows},{columns}",
        "tile": f"{depth},{side},{side}",
        "overlap": overlap,
        "snr": float(np.exp(rng.uniform(np.log(2), np.log(10)))),
        "jitter": 0.5 + 4 * hard * chance,
        "backlash": 8 * hard * (1 - chance / 2) * rng.integers(0, 2),
        "drift": 5 * hard * rng.uniform(),
        "drift-z": 3 * hard * rng.uniform(),
        "line-shift": 3 * hard * rng.uniform(),
        "rotation": float(np.rad2deg(4 * hard * rng.uniform(-1, 1) / extent)),
        "step-error": 300 * hard * rng.uniform(-1, 1) / extent,
        "vignette": 0.6 * rng.uniform(),
        "dark-tilt": 30 * rng.uniform(),
        "tile-gain": 0.15 * rng.uniform(),
        "bleach": 30 * rng.uniform(),
        "bleach-overlap": 10 * rng.uniform(),
        "attenuation": 30 * rng.uniform(),
        "stripes": 0.12 * rng.uniform() * rng.integers(0, 2),
        "dust": int(rng.integers(0, 40)),
        "empty": int(rng.integers(0, 4)),
        "missing": int(rng.integers(0, 2)),
        "shut": int(rng.integers(0, 3)),
    }
    return {name: round(value, 3) if isinstance(value, float) else value for name, value in found.items()}


def tiles(tools: Tools, seeds: Sequence[int], peer_seeds: Sequence[int], voxels: float = _VOXELS) -> Iterator[Row]:
    """Yield a row for each seed and tool, and the medians over the seeds of ours."""
    rows: list[Row] = []
    for seed in seeds:
        options = case_options(seed, voxels)
        with tempfile.TemporaryDirectory(prefix="tiles-") as folder:
            case = Path(folder)
            given = [f"--{name}={value}" for name, value in options.items()]
            tools.run("make_tiles.py", tools.volume, *given, "--seed", seed, "--output", case)
            stage = tools.run("score_tiles.py", case / "truth.json", "stage")
            common: Row = {"seed": seed, **{key: str(options[key]) for key in ("grid", "tile", "overlap", "snr")}}
            common |= {"stage": _value(stage, "stage", "median"), "stage_max": _value(stage, "stage", "max")}
            common |= {"others_stage": _value(stage, "others", "median")}
            rows.append(common | _ours(tools, case))
            yield rows[-1]
            if tools.peer is not None and seed in peer_seeds:
                yield common | _peer(tools, case, tools.peer)
    if len(rows) > 1:
        yield _over_seeds(rows)


def _ours(tools: Tools, case: Path) -> Row:
    info = json.loads((case / "truth.json").read_text())
    scan = import_scan(case / "stage.csv", case, spacing=as_float_triple(info["spacing"]))
    aligner = PairAligner.of(scan, case, 0, None)
    blocks = pair_blocks(scan)
    aligner(blocks[0])  # compiles
    pairs, measuring = [], 0.0
    for block in blocks:
        images, _ = aligner.images(block)
        start = time.process_time()
        pairs.append(aligner.measure(block, images))
        measuring += time.process_time() - start
    start = time.process_time()
    placed = place_tiles(scan, PairSet(0, (0.0, 0.0, 0.0), tuple(pairs)))
    solving = time.process_time() - start
    _write_found(case / "found.csv", placed.tiles)
    flagged = {tile.sources[0].uri for tile in placed.tiles.tiles if "no_evidence" in tile.flags and tile.sources}
    bare = {tile["file"] for tile in info["tiles"] if tile["file"] and tile["state"] != "tissue"}
    return {
        "tool": "teralign",
        **_scores(tools, case, case / "found.csv"),
        "unflagged": len(bare - flagged),
        "cpu_s": measuring + solving,
        "voxel_us": 1e6 * measuring / _overlap(scan),
    }


def _peer(tools: Tools, case: Path, python: Path) -> Row:
    row: Row = {"tool": "multiview-stitcher"}
    try:
        cost = tools.run("run_stitcher.py", "mvs", case, python=python)
        voxels = _overlap(import_scan(case / "stage.csv", case, spacing=(1.0, 1.0, 1.0)))
    except subprocess.CalledProcessError as error:
        lines = (error.stderr or "").strip().splitlines()
        return row | {"fault": lines[-1][:80] if lines else "it failed"}
    seconds = float(str(cost["cpu_register"]))
    return row | _scores(tools, case, case / "found_mvs.csv") | {"cpu_s": seconds, "voxel_us": 1e6 * seconds / voxels}


def _scores(tools: Tools, case: Path, found: Path) -> Row:
    score = tools.run("score_tiles.py", case / "truth.json", found)
    row: Row = {key: _value(score, "tissue", key) for key in ("median", "p95", "max")}
    return row | {"others": _value(score, "others", "median"), "thrown": int(str(score["thrown"]))}


def _value(score: dict[str, object], group: str, key: str) -> float | None:
    values = score[group]
    return float(values[key]) if isinstance(values, dict) else None


def _write_found(path: Path, tiles: TileSet) -> None:
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file", "z", "y", "x"])
        for tile in tiles.tiles:
            if tile.sources:
                voxels = (p / s for p, s in zip(tile.position, tiles.spacing, strict=True))
                table.writerow([tile.sources[0].uri, *voxels])


def _overlap(scan: TileSet) -> int:
    """Return the voxels that all pairs share at the stage's positions."""
    shared = 0
    for block in pair_blocks(scan):
        a, b = block.fixed, block.moving
        sides = zip(a.position, b.position, a.shape, b.shape, scan.spacing, strict=True)
        shared += int(np.prod([min(n, m + (q - p) / s) - max(0, (q - p) / s) for p, q, n, m, s in sides]))
    return shared


def _over_seeds(rows: Sequence[Row]) -> Row:
    """Return the median of medians, and the worst of the rest, over the seeds."""
    values = {key: [float(row[key] or 0) for row in rows] for key in ("median", "p95", "max", "voxel_us", "cpu_s")}
    return {
        "seed": f"all {len(rows)}",
        "tool": "teralign",
        "median": statistics.median(values["median"]),
        "p95": max(values["p95"]),
        "max": max(values["max"]),
        "thrown": sum(int(row["thrown"] or 0) for row in rows),
        "unflagged": sum(int(row["unflagged"] or 0) for row in rows),
        "cpu_s": sum(values["cpu_s"]),
        "voxel_us": statistics.median(values["voxel_us"]),
    }


def tools_of(folder: Path | None, peer: Path | None) -> Tools:
    """Return the tools in `folder`, or in that of the environment. Raises SystemExit where there are none."""
    named = folder or (Path(os.environ[TOOLS_VARIABLE]) if TOOLS_VARIABLE in os.environ else None)
    if named is None or not (named / "make_tiles.py").exists():
        raise SystemExit(f"benchmarks tiles: give --tools or set {TOOLS_VARIABLE} to the folder of make_tiles.py.")
    data = Path(os.environ["TERALIGN_TEST_DATA"])
    return Tools(named, data / "easifish" / "fix.n5" / "highres", peer)


def main(arguments: Sequence[str]) -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks tiles", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tools", type=Path, help=f"folder of make_tiles.py; default: {TOOLS_VARIABLE}")
    parser.add_argument("--seeds", nargs="+", type=int, default=list(range(1, 11)), help="default 1 to 10")
    parser.add_argument("--peer-seeds", nargs="+", type=int, default=[1, 2], help="of the peer; default 1 and 2")
    parser.add_argument("--peer", type=Path, help="a Python with multiview-stitcher and tifffile")
    parser.add_argument("--voxels", type=float, default=_VOXELS, help="of all tiles of a case; default 3.6e7")
    options = parser.parse_args(arguments)
    tools = tools_of(options.tools, options.peer)
    rows: list[Row] = []
    for row in tiles(tools, options.seeds, options.peer_seeds, options.voxels):
        rows.append(row)
        print(markdown([row], COLUMNS).splitlines()[-1], file=sys.stderr, flush=True)
    print(markdown(rows, COLUMNS))
