"""The real EASI-FISH pair through the three commands: similarity, CPU seconds, wall time and peak memory.

    python benchmarks/easifish.py [--scale lowres] [--workers 2] [--nextflow]

With --nextflow the same goes through the workflow, with --use_bigstream, in one row. A field found at highres, of
which the test data hold the first 384 columns, is scored on those columns.

Needs TERALIGN_TEST_DATA. Similarity is measured as in the table of docs/benchmarks.md: NCC over the fixed foreground,
LNCC in blocks of 16³ voxels, and the share of the foreground that the warped volume covers. Memory is the sum of what
all processes of a command hold at the same time.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil

from teralign.grids import Region
from teralign.report.similarity import similarity
from teralign.transforms import Stack, load_transform, warp
from teralign.volumes import open_volume

ROOT = Path(__file__).resolve().parents[1]


@dataclass
class Cost:
    """What a command took."""

    cpu: float
    wall: float
    peak: float


def measure(command: list[str]) -> Cost:
    """Run a command to its end and add up what its processes used."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    peak = [0]
    watch = threading.Thread(target=_watch, args=(process.pid, peak), daemon=True)
    watch.start()
    if process.wait():
        raise SystemExit(f"{command[0]} failed")
    after, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic() - start
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(cpu, wall, peak[0] / 2**30)


def _watch(pid: int, peak: list[int]) -> None:
    """Follow the private memory of a process and its descendants until it is gone."""
    try:
        root = psutil.Process(pid)
        while root.is_running() and root.status() != psutil.STATUS_ZOMBIE:
            total = 0
            for process in [root, *root.children(recursive=True)]:
                try:
                    total += process.memory_full_info().uss
                except psutil.Error:
                    continue
            peak[0] = max(peak[0], total)
            time.sleep(0.2)
    except psutil.NoSuchProcess:
        return


def score(fixed_uri: str, moving_uri: str, transforms: list[str], columns: int | None = None) -> str:
    """The columns of similarity after these transforms, over `columns` of the fixed volume."""
    fixed, moving = open_volume(fixed_uri), open_volume(moving_uri)
    region = Region((0, 0, 0), (*fixed.grid.shape[:2], columns or fixed.grid.shape[2]))
    stack = Stack(tuple(load_transform(path) for path in transforms))
    aligned = warp(moving.read(), moving.grid, grid=fixed.grid, region=region, transform=stack, threads=2)
    found = similarity(fixed.read(region).astype(np.float32), aligned.astype(np.float32), aligned > 0)
    return " ".join(f"{found[name]:6.3f}" for name in ("ncc", "lncc_mean", "lncc_p10", "foreground_covered"))


def main() -> None:
    """Run the pair and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", default="lowres", help="scale of the local step")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--nextflow", action="store_true", help="run the workflow")
    options = parser.parse_args()
    data = Path(os.environ["TERALIGN_TEST_DATA"]) / "easifish"
    uris = {"fixed": f"{data}/fix.n5/lowres", "moving": f"{data}/mov.n5/lowres"}
    low = [f"--{role}={uri}" for role, uri in uris.items()]
    fine = [text.replace("lowres", options.scale) for text in low]
    columns = 384 // 2 if options.scale == "highres" else None
    with tempfile.TemporaryDirectory() as folder:
        if options.nextflow:
            costs, results = through_nextflow(data, options.scale, options.workers, folder)
        else:
            costs, results = by_commands(low, fine, options.workers, folder)
        affine, field = f"{results}/affine.mat", f"{results}/transform.zarr"
        print(f"{'':16} {'NCC':>6} {'LNCC':>6} {'p10':>6} {'cover':>6} {'CPU s':>7} {'wall s':>7} {'GiB':>5}")
        for name, paths in {"before": [], "global-align": [affine], "local-align": [affine, field]}.items():
            print(f"{name:16}", score(uris["fixed"], uris["moving"], paths, columns), said(costs.pop(name, None)))
        for name, cost in costs.items():
            print(f"{name:16}", " " * 27, said(cost))
        blocks = json.loads(Path(results, "transform.blocks.json").read_text())
    print(f"least Jacobian {blocks['min_jacobian']:.3f}, folded share {blocks['folded_share']}, {blocks['states']}")


def by_commands(low: list[str], fine: list[str], workers: int, folder: str) -> tuple[dict[str, Cost], str]:
    """Run the three commands; gives what each took, and where the transforms are."""
    affine, field = f"{folder}/affine.mat", f"{folder}/transform.zarr"
    cluster = [f"--workers={workers}", "--worker-cpus=1", "--worker-mem-gb=4"]
    steps = {
        "global-align": [*low, "--steps=ransac,affine", f"--output={affine}"],
        "local-align": [*fine, f"--initial-transform={affine}", f"--output={field}", *cluster],
        "apply-transform": [
            *(*low, f"--transform={affine}", f"--transform={field}"),
            *(f"--output={folder}/warped.zarr", *cluster),
        ],
    }
    return {name: measure([sys.executable, "-m", "teralign", name, *args]) for name, args in steps.items()}, folder


def through_nextflow(data: Path, scale: str, workers: int, folder: str) -> tuple[dict[str, Cost], str]:
    """Run the workflow; gives what all of it took, and where the transforms are."""
    command = [
        *(str(ROOT / "bin" / "nextflow"), "run", str(ROOT), "-ansi-log", "false", "-work-dir", f"{folder}/work"),
        *("--id", "pair", "--fixed", f"{data}/fix.n5", "--moving", f"{data}/mov.n5", "--use_bigstream"),
        *("--aff_scale", "lowres", "--def_scale", scale, "--apply_scale", "lowres", "--outdir", f"{folder}/results"),
        *("--bigstream_workers", str(workers), "--bigstream_worker_cpus", "1", "--bigstream_worker_mem_gb", "4"),
    ]
    return {"nextflow, all": measure(command)}, f"{folder}/results/pair"


def said(cost: Cost | None) -> str:
    """The columns of a cost."""
    return f"{cost.cpu:7.1f} {cost.wall:7.1f} {cost.peak:5.2f}" if cost else ""


if __name__ == "__main__":
    main()
