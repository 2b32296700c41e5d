"""Teralign and its peers on the same pairs: the made ones, whose true map is known, and the real one.

Each tool is a script of `tools/` that runs in its own environment, from raw images to a map on disk. What that costs
is measured from outside, start-up included; the map is then evaluated and scored, which is not.
"""

from __future__ import annotations

import json
import logging
import math
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks import scores
from benchmarks.costs import run, with_threads
from benchmarks.environments import FOLDER, NotInstalledError, python_of
from benchmarks.pairs import export_pair, made_pair
from benchmarks.tables import COST, ERRORS, Row, cost_values
from teralign.transforms import Affine
from teralign.volumes import open_volume

log = logging.getLogger("benchmarks")
TOOLS: Mapping[str, str] = {
    "teralign": "**Teralign** (ransac, affine, deform)",
    "greedy": "greedy (NCC 4×4×4, 100×60×20)",
    "ants": "ANTs (affine, SyN)",
    "elastix": "elastix (affine, B-spline 60 µm)",
    "simpleitk": "SimpleITK (MMI, B-spline 60 µm)",
    "bigstream": "bigstream (ransac, affine, deform 50 µm)",
}
_COSTS = {"CPU s": "cpu_s:.1f", "of which aligning": "aligning_cpu_s:.1f", **COST}
SYNTHETIC = {
    "": "label",
    "seed": "seed:d",
    **ERRORS,
    "folded": "folded:.1e",
    **_COSTS,
}
REAL = {
    "": "label",
    "NCC": "ncc:.3f",
    "LNCC": "lncc_mean:.3f",
    "p10": "lncc_p10:.3f",
    "cover": "foreground_covered:.3f",
    "folded": "folded:.1e",
    **_COSTS,
}


@dataclass(frozen=True)
class Settings:
    """What holds for every run of a tool: threads, and the wall seconds after which it is stopped."""

    threads: int
    limit: float


def synthetic(
    data: Path, peers: Sequence[str], seeds: Mapping[str, Sequence[int]], settings: Settings
) -> Iterator[Row]:
    """Made pairs from raw images to the full map: error at 20 000 foreground points. `seeds` are by tool."""
    for number, seed in enumerate(sorted({seed for tool in peers for seed in seeds[tool]})):
        folder = made_pair(data, seed)
        if number == 0:
            _compile(folder)
        fixed = open_volume(folder / "fixed_low.nrrd")
        points = [np.loadtxt(folder / f"points_{name}.csv", delimiter=",")[:, ::-1] for name in ("fixed", "moving")]
        for tool in (tool for tool in peers if seed in seeds[tool]):
            row, found = align(tool, folder, folder / tool, settings)
            if found is not None:
                row |= scores.errors(scores.at_points(found, fixed.grid, points[0]), points[1])
                row |= {"folded": scores.folded(found, fixed.grid)}
            yield {"label": TOOLS[tool], "seed": seed, **row}


def real(data: Path, peers: Sequence[str], affine: Path | None, settings: Settings) -> Iterator[Row]:
    """The real pair at lowres: first the global step of every tool, then its deformation from one common affine.

    The common affine is `affine`, or what Teralign's global step has found.
    """
    folder = FOLDER / "pairs" / "real"
    if not (folder / "moving_low.nrrd").exists():
        export_pair(folder, data / "fix.n5" / "lowres", data / "mov.n5" / "lowres")
    _compile(folder)
    volumes = [open_volume(folder / f"{name}_low.nrrd") for name in ("fixed", "moving")]
    fixed, moving = (volume.read() for volume in volumes)
    fixed_grid, moving_grid = (volume.grid for volume in volumes)

    def scored(row: Row, found: scores.Map | None, label: str) -> Row:
        if found is not None:
            row |= scores.likeness(found, fixed, moving, moving_grid)
            row |= {"folded": scores.folded(found, fixed_grid)}
        return {"label": label, **row}

    yield scored({}, scores.unmoved(fixed_grid), "before")
    for tool in peers:
        row, found = align(tool, folder, folder / f"{tool}-global", settings, affine_only=True)
        yield scored(row, found, f"{TOOLS[tool].split(' (')[0]}, global")
    start = affine or folder / "teralign-global" / "affine.mat"
    if not start.exists():
        return
    yield scored({}, scores.moved(fixed_grid, Affine.from_file(start)), "the common affine")
    for tool in peers:
        row, found = align(tool, folder, folder / f"{tool}-local", settings, start=start)
        yield scored(row, found, f"{TOOLS[tool].split(' (')[0]}, deformation from there")


def _compile(pair: Path) -> None:
    """Align once before anything is measured: compiling is done once on a machine."""
    align("teralign", pair, pair / "teralign", Settings(threads=1, limit=math.inf))


def align(
    tool: str, pair: Path, out: Path, settings: Settings, *, start: Path | None = None, affine_only: bool = False
) -> tuple[Row, scores.Map | None]:
    """Run one tool on one pair; gives what it cost, and its map unless it failed."""
    log.info("%s, %s", tool, out)
    try:
        python = Path(sys.executable) if tool == "teralign" else python_of(tool)
    except NotInstalledError as error:
        return {"tool": tool, "fault": str(error)}, None
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    script = Path(__file__).parent / "tools" / f"with_{tool}.py"
    files = [pair / "fixed_low.nrrd", pair / "moving_low.nrrd", out]
    options = [f"--threads={settings.threads}"]
    options += [f"--start={start}"] if start else []
    options += ["--affine-only"] if affine_only else []
    env = with_threads(settings.threads)
    outcome = run([python, script, "align", *files, *options], limit=settings.limit, env=env)
    row = {"tool": tool, **cost_values(outcome)}
    if outcome.fault:
        return row, None
    row |= json.loads((out / "align.json").read_text())
    mapping = run([python, script, "map", *files], limit=settings.limit, env=env)
    if mapping.fault:
        return row | {"fault": f"its map cannot be had: {mapping.fault}"}, None
    found: scores.Map = np.load(out / "map.npy")
    (out / "map.npy").unlink()
    return row, found
