"""apply-transform and convert-volume, as whole commands, against tensorstore that merely copies the same chunks.

    python -m benchmarks --only applying --only converting [--largest 512,512,512]

Demo data of this shape (x,y,z), under the true affine and field or as they are, into an OME-Zarr pyramid; as many
processes for both. Start-up counts, the cluster's included.
"""

from __future__ import annotations

import logging
import math
import sys
import tempfile
from collections.abc import Iterator, Sequence
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
    "throughput %": "throughput:.0f",
    "CPU µs a voxel": "cpu_us:.3f",
}


def applying(shape: Triple, workers: int) -> Iterator[Row]:
    """The copy, then apply-transform, with the ratio of their costs."""
    compile_kernels()
    folder = demo_data(shape)
    fixed, moving = (folder / f"{name}.n5" / "s0" for name in ("fixed", "moving"))
    transform = f"--transform={folder}/true_transform.zarr"
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        volumes = [f"--fixed={fixed}", f"--moving={moving}", f"--output={scratch}/new.zarr"]
        yield from _beside_a_copy((fixed, moving, scratch), ["apply-transform", *volumes, transform], shape, workers)


def converting(shape: Triple, workers: int) -> Iterator[Row]:
    """The copy, then convert-volume from N5 to OME-Zarr, with the ratio of their costs."""
    compile_kernels()
    volume = demo_data(shape) / "fixed.n5" / "s0"
    with tempfile.TemporaryDirectory(dir=volume.parents[2]) as scratch:
        command = ["convert-volume", str(volume), f"{scratch}/new.zarr"]
        yield from _beside_a_copy((volume, volume, scratch), command, shape, workers)


def _beside_a_copy(
    paths: tuple[Path, Path, str], command: Sequence[str], shape: Triple, workers: int
) -> Iterator[Row]:
    """What a command of ours costs, after the copy of a volume on the grid of another, into a scratch folder."""
    fixed, moving, scratch = paths
    count = f"--workers={workers}"
    copy = [sys.executable, "-m", "benchmarks.copy_chunks", fixed, moving, Path(scratch, "copy.zarr"), count]
    log.info("tensorstore alone")
    plain = run(copy, limit=math.inf)
    yield {"label": f"tensorstore alone, {workers} processes", **_row(cost_values(plain), shape)}
    log.info("%s", command[0])
    cluster = [count, "--worker-cpus=1", "--worker-mem-gb=4"]
    outcome = run([sys.executable, "-m", "teralign", *command, *cluster], limit=math.inf)
    row = {"label": f"{command[0]}, {workers} workers of 1 cpu", **_row(cost_values(outcome), shape)}
    if not plain.fault and not outcome.fault:
        row["cpu_ratio"] = outcome.cost.cpu_s / plain.cost.cpu_s
        row["wall_ratio"] = outcome.cost.wall_s / plain.cost.wall_s
        row["throughput"] = 100 / row["wall_ratio"]
    yield row


def _row(costs: Row, shape: Triple) -> Row:
    return costs if costs["fault"] else {**costs, "cpu_us": 1e6 * float(costs["cpu_s"] or 0) / math.prod(shape)}
