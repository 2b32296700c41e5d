"""CPU time a voxel and memory of a worker from small volumes to large ones: local-align and apply-transform.

    python -m benchmarks --only scaling [--largest 512,512,512]

Demo data of 256³ voxels, of twice as many along every axis as long as they fit into the largest shape (x,y,z), and of
the largest. local-align starts at the true affine, apply-transform applies the true affine and the field that was
found. Start-up is in the figures, and weighs more on small volumes.
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
from teralign.grids import Triple, as_triple, reverse_axes

log = logging.getLogger("benchmarks")
COLUMNS = {
    "command": "command",
    "voxels, x,y,z": "shape",
    "CPU µs a voxel": "cpu_us:.2f",
    **COST,
    "GiB of the largest process": "largest_gib:.2f",
}
_SMALLEST: Triple = (256, 256, 256)


def scaling(largest: Triple, workers: int) -> Iterator[Row]:
    """Both commands on each shape (z, y, x)."""
    compile_kernels()
    for shape in shapes(largest):
        folder = demo_data(shape)
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            yield from _commands(folder, Path(scratch), shape, workers)


def shapes(largest: Triple) -> list[Triple]:
    """Doubled from the smallest while all axes fit, and the largest itself."""
    found = [as_triple(min(a, b) for a, b in zip(_SMALLEST, largest, strict=True))]
    while found[-1] != largest:
        doubled = as_triple(2 * n for n in found[-1])
        found.append(doubled if all(a <= b for a, b in zip(doubled, largest, strict=True)) else largest)
    return found


def _commands(folder: Path, scratch: Path, shape: Triple, workers: int) -> Iterator[Row]:
    volumes = [f"--{role}={folder}/{role}.n5/s0" for role in ("fixed", "moving")]
    cluster = [f"--workers={workers}", "--worker-cpus=1", "--worker-mem-gb=4"]
    affine, field = folder / "true_affine.mat", scratch / "field.zarr"
    steps = {
        "local-align": [f"--initial-transform={affine}", f"--output={field}"],
        "apply-transform": [f"--transform={field}", f"--output={scratch}/warped.zarr"],
    }
    for name, options in steps.items():
        log.info("%s of %s voxels", name, shape)
        outcome = run([sys.executable, "-m", "teralign", name, *volumes, *options, *cluster], limit=math.inf)
        row = {"command": name, "shape": "×".join(map(str, reverse_axes(shape))), **cost_values(outcome)}
        if outcome.fault:
            yield row
            return
        row["cpu_us"], row["largest_gib"] = 1e6 * outcome.cost.cpu_s / math.prod(shape), outcome.cost.largest_gib
        yield row


def parse_shape(text: str) -> Triple:
    """A shape (z, y, x) from "x,y,z"."""
    return as_triple(reverse_axes([int(n) for n in text.split(",")]))
