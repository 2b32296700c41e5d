"""Gain and dark level of planes of known light, ours beside BaSiCPy on the same images: error and CPU time.

    TERALIGN_TEST_DATA=… TERALIGN_TILES_TOOLS=FOLDER python -m benchmarks flatfield [--planes 60 …] [--seeds 1 2 …]
        [--peer PYTHON]

FOLDER holds `flatfield_peers.py`, which cuts planes of a real volume, lights them unevenly, and runs the peer with
the Python PYTHON that has it (`pip install basicpy "numpy<1.27" tifffile`: its SciPy does not import with a later
NumPy). Ours is told the dark level, or not; the peer always finds it. CPU is that of the estimate, without reading,
on one thread.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.tables import Row, markdown
from benchmarks.tiles import Tools, tools_of
from teralign.correction import estimate_shading

COLUMNS = {
    "planes": "planes",
    "seed": "seed",
    "tool": "tool",
    "dark level": "dark",
    "gain, rms %": "rms:.2f",
    "max %": "max:.1f",
    "before": "before:.1f",
    "dark off": "dark_off:.1f",
    "CPU s / 100 planes": "cpu_s:.2f",
}
"""The gain's error in per cent, after both are scaled to mean 1; that of the dark level in counts."""

_SCRIPT = "flatfield_peers.py"
COUNTS = (60, 300, 2000)
"""The numbers of planes."""
_PEER_PLANES = 300  # beyond which the peer takes long


def flatfield(
    tools: Tools, counts: Sequence[int], seeds: Sequence[int], peer_seeds: Sequence[int], strength: float = 0.5
) -> Iterator[Row]:
    """Yield a row for each number of planes, seed and tool, and for each number the worst of ours."""
    for count in counts:
        rows: list[Row] = []
        for seed in seeds:
            with tempfile.TemporaryDirectory(prefix="flatfield-") as folder:
                given: list[object] = ["--planes", count, "--seed", seed, "--strength", strength]
                given += ["--cache", folder, "--volume", tools.volume]
                tools.run(_SCRIPT, "mean", *given)  # makes the planes
                with np.load(next(Path(folder).glob("*.npz"))) as case:
                    planes, gain, level = case["planes"], case["gain"], float(np.mean(case["dark"]))
                for dark in (level, None):
                    rows.append({"planes": count, "seed": seed, **_ours(planes, gain, level, dark)})
                    yield rows[-1]
                if tools.peer is not None and seed in peer_seeds and count <= _PEER_PLANES:
                    yield {"planes": count, "seed": seed, **_peer(tools, tools.peer, count, given)}
        if len(seeds) > 1:
            for name in ("known", "found"):
                yield _over_seeds([row for row in rows if row["dark"] == name], len(seeds))


def _ours(planes: NDArray[np.uint16], gain: NDArray[np.float32], level: float, dark: float | None) -> Row:
    estimate_shading(planes[:16], dark=level)  # compiles
    start = time.process_time()
    found = estimate_shading(planes, dark=dark)
    seconds = time.process_time() - start
    ratio = found.gain[0] / found.gain[0].mean() / gain * gain.mean() - 1
    return {
        "tool": "teralign",
        "dark": "found" if dark is None else "known",
        "rms": 100 * float(ratio.std()),
        "max": 100 * float(np.abs(ratio - ratio.mean()).max()),
        "before": 100 * float(gain.std()),
        "dark_off": abs(float(found.dark.mean()) - level),
        "cpu_s": 100 * seconds / len(planes),
    }


def _peer(tools: Tools, python: Path, count: int, given: Sequence[object]) -> Row:
    row: Row = {"tool": "BaSiCPy", "dark": "found"}
    try:
        said = tools.run(_SCRIPT, "basic", *given, python=python)
    except subprocess.CalledProcessError as error:
        lines = (error.stderr or "").strip().splitlines()
        return row | {"fault": lines[-1][:80] if lines else "it failed"}
    found = {key: float(str(value)) for key, value in said.items() if key != "method"}
    row |= {"rms": found["rms_percent"], "max": found["max_percent"], "before": found["flat_rms_before"]}
    return row | {"dark_off": found["dark_error"], "cpu_s": 100 * found["cpu_s"] / count}


def _over_seeds(rows: Sequence[Row], seeds: int) -> Row:
    """Return the largest errors over the seeds, and the median of the time."""
    worst = {key: max(float(row[key] or 0) for row in rows) for key in ("rms", "max", "dark_off")}
    return {
        "planes": rows[0]["planes"],
        "seed": f"worst of {seeds}",
        "tool": "teralign",
        "dark": rows[0]["dark"],
        **worst,
        "cpu_s": statistics.median(float(row["cpu_s"] or 0) for row in rows),
    }


def main(arguments: Sequence[str]) -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks flatfield",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--tools", type=Path, help=f"folder of {_SCRIPT}; default: TERALIGN_TILES_TOOLS")
    parser.add_argument("--planes", nargs="+", type=int, default=list(COUNTS), help="default 60, 300 and 2000")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3], help="default 1 to 3")
    parser.add_argument("--peer-seeds", nargs="+", type=int, default=[1], help="of the peer; default 1")
    parser.add_argument("--peer", type=Path, help="a Python with basicpy and tifffile")
    parser.add_argument("--strength", type=float, default=0.5, help="of the vignette; default 0.5")
    options = parser.parse_args(arguments)
    tools = tools_of(options.tools, options.peer)
    if tools.peer is None:
        print("BaSiCPy is not measured: give --peer, a Python that has it.", file=sys.stderr)
    rows: list[Row] = []
    for row in flatfield(tools, options.planes, options.seeds, options.peer_seeds, options.strength):
        rows.append(row)
        print(markdown([row], COLUMNS).splitlines()[-1], file=sys.stderr, flush=True)
    print(markdown(rows, COLUMNS))
