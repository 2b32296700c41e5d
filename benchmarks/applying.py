"""apply-transform as a whole command against tensorstore that merely reads and writes the same chunks.

    python -m benchmarks --only applying [--largest 512,512,512]

Demo data of this shape (x,y,z) under the true affine and field, into an OME-Zarr pyramid; as many processes for both.
Start-up counts, the cluster's included.
"""

from __future__ import annotations

import logging
import math
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.costs import run
from benchmarks.demo import compile_kernels, demo_data
from benchmarks.tables import COST, Row, cost_values
from teralign.grids import Triple

log = logging.getLogger("benchmarks")
COLUMNS = {
    "": "label",
    **COST,
    "CPU ratio": "cpu_ratio:.2f",
    "wall ratio": "wall_ratio:.2f",
    "CPU µs a voxel": "cpu_us:.3f",
}


def applying(shape: Triple, workers: int) -> Iterator[Row]:
    """The copy, then the command, with the ratio of their costs."""
    compile_kernels()
    folder = demo_data(shape)
    fixed, moving = (folder / f"{name}.n5" / "s0" for name in ("fixed", "moving"))
    transforms = [f"--transform={folder}/true_{name}" for name in ("affine.mat", "transform.zarr")]
    count = f"--workers={workers}"
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        copy: list[str | Path] = [
            sys.executable,
            "-m",
            "benchmarks.copy_chunks",
            fixed,
            moving,
            Path(scratch, "copy.zarr"),
            count,
        ]
        volumes = [f"--fixed={fixed}", f"--moving={moving}", f"--output={scratch}/warped.zarr"]
        cluster = [count, "--worker-cpus=1", "--worker-mem-gb=4"]
        command = [sys.executable, "-m", "teralign", "apply-transform", *volumes, *transforms, *cluster]
        log.info("tensorstore alone")
        plain = run(copy, limit=math.inf)
        yield {"label": f"tensorstore alone, {workers} processes", **_row(cost_values(plain), shape)}
        log.info("apply-transform")
        outcome = run(command, limit=math.inf)
        row = {"label": f"apply-transform, {workers} workers of 1 cpu", **_row(cost_values(outcome), shape)}
        if not plain.fault and not outcome.fault:
            row["cpu_ratio"] = outcome.cost.cpu_s / plain.cost.cpu_s
            row["wall_ratio"] = outcome.cost.wall_s / plain.cost.wall_s
        yield row


def _row(costs: Row, shape: Triple) -> Row:
    return costs if costs["fault"] else {**costs, "cpu_us": 1e6 * float(costs["cpu_s"] or 0) / math.prod(shape)}
