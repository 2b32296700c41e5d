"""Positions of tiles of known truth, ours beside multiview-stitcher: error, tiles thrown off, CPU time, fusion.

    TERALIGN_TEST_DATA=… TERALIGN_TILES_TOOLS=FOLDER python -m benchmarks tiles [--seeds 401-430] [--peer install]

FOLDER holds `make_tiles.py` (cuts tiles from a real volume), `score_tiles.py`, `score_fused.py` and
`run_stitcher.py`, which runs the peer. A seed decides everything: the grid, overlap, signal-to-noise ratio and the
faults of stage and camera. CPU is that of measuring and solving, without reading, on one thread. The 63 real tiles
have a row, and a table says of all that must hold whether it does. With `--log` a later call goes on after the seeds
that are in it.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.costs import with_threads
from benchmarks.environments import python_of
from benchmarks.tables import Row, Value, markdown
from benchmarks.tile_fusion import FUSED, SCENE, fuse_case
from benchmarks.tile_section import Section
from benchmarks.tile_summary import COLUMNS as SUMMARY_COLUMNS
from benchmarks.tile_summary import summary
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
    "further": "further",
    "groups": "groups",
    "Mvoxel/s": "fused_mvoxel:.0f",
    "of a copy": "fused_copies:.2f",
    "seams": "seam_above:.2f",
}
"""Errors in voxels. Others are tiles without tissue: the median of what the stage is off, and of what is left.

`further` are tiles without evidence that lie further off than the stage has them, by more than a tenth of a voxel.
`groups` are those that no overlap with evidence connects; how they lie to one another is then the stage's word, and
counts as an error of theirs.
"""

TOOLS_VARIABLE = "TERALIGN_TILES_TOOLS"
_VOXELS = 36e6
_LEAST_OVERLAP = 24  # voxels
_FURTHER = 0.1  # voxels: the zero of positions is not known better


@dataclass(frozen=True)
class Tools:
    """The folder of the generator and the scores, the volume that is cut, the peer's Python, where cases are kept."""

    folder: Path
    volume: Path
    peer: Path | None = None
    cases: Path | None = None

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


@dataclass(frozen=True)
class Wanted:
    """The seeds to measure, those of the peer and those that are fused as well, and a log of rows that are known."""

    seeds: Sequence[int]
    peer_seeds: Sequence[int] = ()
    fuse_seeds: Sequence[int] = ()
    voxels: float = _VOXELS
    log: Path | None = None


def tiles(tools: Tools, wanted: Wanted) -> Iterator[Row]:
    """Yield a row for each seed and tool, and one for the real tiles."""
    known: list[Row] = []
    if wanted.log is not None and wanted.log.exists():
        known = [json.loads(line) for line in wanted.log.read_text().splitlines()]
    yield from known
    done = {(row["seed"], row["tool"]) for row in known}
    for row in _measured(tools, wanted, done):
        if wanted.log is not None:
            with wanted.log.open("a") as file:
                file.write(json.dumps(row) + "\n")
        yield row


def _measured(tools: Tools, wanted: Wanted, done: Set[tuple[Value, Value]]) -> Iterator[Row]:
    """Yield the rows that are not `done`: of a seed and a tool."""
    for seed in wanted.seeds:
        ours = (seed, "teralign") not in done
        peer = tools.peer if seed in wanted.peer_seeds and (seed, "multiview-stitcher") not in done else None
        if not ours and peer is None:
            continue
        with _made(tools, seed, wanted) as (case, options):
            stage = tools.run("score_tiles.py", case / "truth.json", "stage")
            common: Row = {"seed": seed, **{key: str(options[key]) for key in ("grid", "tile", "overlap", "snr")}}
            common |= {"stage": _value(stage, "stage", "median"), "stage_max": _value(stage, "stage", "max")}
            common |= {"others_stage": _value(stage, "others", "median")}
            if ours:
                yield common | _ours(tools, case, fuse=seed in wanted.fuse_seeds)
            if peer is not None:
                yield common | _peer(tools, case, peer)
    if ("63 real tiles", "teralign") not in done:
        yield Section.of(tools.volume.parents[2] / "tiles").row()


@contextlib.contextmanager
def _made(tools: Tools, seed: int, wanted: Wanted) -> Iterator[tuple[Path, dict[str, float | str]]]:
    """Make the tiles of a seed, if they are not there, and yield their folder and the options of the generator."""
    options = case_options(seed, wanted.voxels)
    given = [f"--{name}={value}" for name, value in options.items()]
    given += ["--save-scene"] if seed in wanted.fuse_seeds else []
    with tempfile.TemporaryDirectory(prefix="tiles-") as folder:
        case = Path(folder) if tools.cases is None else tools.cases / str(seed)
        if not (case / "truth.json").exists():
            tools.run("make_tiles.py", tools.volume, *given, "--seed", seed, "--output", case)
        yield case, options


def _ours(tools: Tools, case: Path, *, fuse: bool) -> Row:
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
    row: Row = {
        "tool": "teralign",
        **_scores(tools, case, case / "found.csv"),
        **_lone(info, placed.tiles),
        "unflagged": len(bare - flagged),
        "groups": solution.components if (solution := placed.tiles.solution) else None,
        "cpu_s": measuring + solving,
        "voxel_us": 1e6 * measuring / _overlap(scan),
    }
    return row | _fused(tools, case, placed.tiles) if fuse else row


def _lone(info: dict[str, Any], placed: TileSet) -> Row:
    """Return how many present tiles have no evidence, their mean errors, and how many lie further off than before."""
    truth = {tile["file"]: tile for tile in info["tiles"] if tile["file"]}
    present = [tile for tile in placed.present if tile.sources]
    own = [truth[tile.sources[0].uri] for tile in present]
    tissue = np.array([tile["state"] == "tissue" for tile in own])
    lone = np.array(["no_evidence" in tile.flags for tile in present])
    true = np.array([tile["true"] for tile in own])
    ends = (
        np.array([np.array(tile.position) / placed.spacing for tile in present]),
        np.array([t["stage"] for t in own]),
    )
    left, stage = (np.linalg.norm(d - np.median(d[tissue], axis=0), axis=1)[lone] for d in (e - true for e in ends))
    count = int(lone.sum())
    further = int((left > stage + _FURTHER).sum())
    means = {"lone_stage": float(stage.mean()), "lone_left": float(left.mean())} if count else {}
    return {"lone": count, "lone_stage": 0.0, "lone_left": 0.0, "further": further} | means


def _fused(tools: Tools, case: Path, placed: TileSet) -> Row:
    """Return the costs of fusion, and the steps at seams beyond those away from them, % of the foreground."""
    row, grid = fuse_case(case, placed)
    if not (case / SCENE).exists():
        return row
    truth = {tile["file"]: tile for tile in json.loads((case / "truth.json").read_text())["tiles"]}
    known = [tile for tile in placed.present if truth[tile.sources[0].uri]["state"] == "tissue"]
    off = [np.subtract(truth[t.sources[0].uri]["true"], np.array(t.position) / placed.spacing) for t in known]
    shift, origin = np.median(off, axis=0), np.array(grid.origin) / grid.spacing
    places = [f"--{name}=" + ",".join(map(str, place)) for name, place in (("origin", origin), ("shift", shift))]
    score = tools.run("score_fused.py", case, case / FUSED, *places)
    return row | {"seam_above": float(str(score["seam_percent"])) - float(str(score["background_percent"]))}


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


def tools_of(folder: Path | None, peer: Path | None, cases: Path | None = None) -> Tools:
    """Return the tools in `folder`, or in that of the environment. Raises SystemExit where there are none."""
    named = folder or (Path(os.environ[TOOLS_VARIABLE]) if TOOLS_VARIABLE in os.environ else None)
    if named is None or not (named / "make_tiles.py").exists():
        raise SystemExit(f"benchmarks tiles: give --tools or set {TOOLS_VARIABLE} to the folder of make_tiles.py.")
    data = Path(os.environ["TERALIGN_TEST_DATA"])
    return Tools(named, data / "easifish" / "fix.n5" / "highres", peer, cases)


def main(arguments: Sequence[str]) -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks tiles", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tools", type=Path, help=f"folder of make_tiles.py; default: {TOOLS_VARIABLE}")
    parser.add_argument("--seeds", nargs="+", type=_range, default=[range(1, 11)], help="as 1 5-8; default 1-10")
    parser.add_argument("--peer-seeds", nargs="*", type=int, default=[1, 2], help="of the peer; default 1 and 2")
    parser.add_argument("--fuse-seeds", nargs="*", type=int, default=[1], help="that are fused as well; default 1")
    parser.add_argument("--peer", type=Path, help="a Python with multiview-stitcher and tifffile, or: install")
    parser.add_argument("--cases", type=Path, help="a folder where the tiles are kept")
    parser.add_argument("--log", type=Path, help="a file of rows: what it has is not measured again")
    parser.add_argument("--voxels", type=float, default=_VOXELS, help="of all tiles of a case; default 3.6e7")
    options = parser.parse_args(arguments)
    peer = python_of("multiview-stitcher") if options.peer == Path("install") else options.peer
    tools = tools_of(options.tools, peer, options.cases)
    seeds = [seed for part in options.seeds for seed in part]
    wanted = Wanted(seeds, options.peer_seeds, options.fuse_seeds, options.voxels, options.log)
    rows: list[Row] = []
    for row in tiles(tools, wanted):
        rows.append(row)
        print(markdown([row], COLUMNS).splitlines()[-1], file=sys.stderr, flush=True)
    print(markdown(rows, COLUMNS), what_holds(rows), sep="\n\n")


def what_holds(rows: Sequence[Row]) -> str:
    """Return the table of what must hold."""
    return markdown(summary(rows), SUMMARY_COLUMNS)


def _range(text: str) -> range:
    """Return the seeds of "5" or "5-8"."""
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)
