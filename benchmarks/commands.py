"""The real EASI-FISH pair through the three commands, blockwise on a Dask cluster, and through the whole workflow.

A field found at highres, of which the test data hold the first 384 columns, is scored at lowres on those columns.
"""

from __future__ import annotations

import json
import logging
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from benchmarks.costs import run
from benchmarks.demo import compile_kernels
from benchmarks.tables import COST, Row, cost_values
from teralign.evaluation.similarity import similarity
from teralign.grids import Region
from teralign.transforms import load_stack, warp
from teralign.volumes import open_volume

log = logging.getLogger("benchmarks")
ROOT = Path(__file__).resolve().parents[1]
COLUMNS = {
    "": "label",
    "NCC": "ncc:.3f",
    "LNCC": "lncc_mean:.3f",
    "p10": "lncc_p10:.3f",
    "cover": "foreground_covered:.3f",
    "CPU µs a voxel": "cpu_us:.2f",
    "blocks": "blocks",
    "least Jacobian": "jacobian:.2f",
    **COST,
}
_HIGHRES_COLUMNS = 384
_WORKERS = 2
_LIMIT = 1200  # CPU seconds of one command
_CLUSTER = (f"--workers={_WORKERS}", "--worker-cpus=1", "--worker-mem-gb=4")


def commands(data: Path, affine: Path | None, *, nextflow: bool) -> Iterator[Row]:
    """global-align, local-align and apply-transform at lowres, local-align at highres; with `nextflow` all of it.

    local-align starts at `affine`, or at what global-align has found.
    """
    compile_kernels()
    with tempfile.TemporaryDirectory() as folder:
        found = f"{folder}/affine.mat"
        low, high = (_volumes(data, scale) for scale in ("lowres", "highres"))
        row = command("global-align", *low, "--steps=ransac,affine", f"--output={found}")
        yield {"label": "global-align", **row, **_likeness(data, [found])}
        start = str(affine or found)
        yield {"label": "where local-align starts", **_likeness(data, [start])}
        for scale, volumes in (("lowres", low), ("highres", high)):
            field = f"{folder}/{scale}.zarr"
            step = [*volumes, f"--initial-transform={start}", f"--output={field}", *_CLUSTER]
            row = command("local-align", *step)
            label = f"local-align, {scale}, {_WORKERS} workers of 1 cpu"
            yield {
                "label": label,
                **row,
                **_blocks(data, scale, field, row),
                **_likeness(data, [start, field], scale),
            }
        lowres = f"{folder}/lowres.zarr"
        yield {
            "label": "local-align, lowres, over the columns of highres",
            **_likeness(data, [start, lowres], "highres"),
        }
        transforms = [f"--transform={path}" for path in (start, lowres)]
        row = command("apply-transform", *low, *transforms, f"--output={folder}/warped.zarr", *_CLUSTER)
        yield {"label": f"apply-transform, lowres, {_WORKERS} workers of 1 cpu", **row}
        if nextflow:
            yield _through_nextflow(data, folder)


def _volumes(data: Path, scale: str) -> list[str]:
    return [f"--{role}={data}/{name}.n5/{scale}" for role, name in (("fixed", "fix"), ("moving", "mov"))]


def command(name: str, *options: str) -> Row:
    """What a command of ours cost. It must not fail: what comes after needs what it writes."""
    log.info("%s", name)
    outcome = run([sys.executable, "-m", "teralign", name, *options], limit=_LIMIT)
    if outcome.fault:
        raise SystemExit(f"{name} {outcome.fault}")
    return cost_values(outcome)


def _blocks(data: Path, scale: str, field: str, row: Row) -> Row:
    """What the report of local-align's blocks says, and the CPU time a fixed voxel."""
    told = json.loads(Path(field).with_suffix(".blocks.json").read_text())
    voxels = np.prod(open_volume(data / "fix.n5" / scale).grid.shape)
    return {
        "cpu_us": 1e6 * float(row["cpu_s"] or 0) / float(voxels),
        "jacobian": told["min_jacobian"],
        "blocks": ", ".join(f"{count} {state}" for state, count in told["states"].items()),
    }


def _likeness(data: Path, transforms: Sequence[str], scale: str = "lowres") -> Row:
    """How alike the rounds are at lowres after these transforms, over the columns that a field of `scale` covers."""
    fixed, moving = (open_volume(data / f"{name}.n5" / "lowres") for name in ("fix", "mov"))
    shape = fixed.grid.shape
    region = Region((0, 0, 0), (*shape[:2], _HIGHRES_COLUMNS // 2 if scale == "highres" else shape[2]))
    stack = load_stack(transforms)
    aligned = warp(moving.read(), moving.grid, grid=fixed.grid, region=region, transform=stack)
    return asdict(similarity(fixed.read(region).astype(np.float32), aligned.astype(np.float32), aligned > 0))


def _through_nextflow(data: Path, folder: str) -> Row:
    """The workflow with --use_bigstream, Nextflow itself included."""
    results = f"{folder}/results"
    command: list[str | Path] = [
        *(ROOT / "bin" / "nextflow", "run", ROOT, "-ansi-log", "false", "-work-dir", Path(folder, "work")),
        *("--id", "pair", "--fixed", data / "fix.n5", "--moving", data / "mov.n5", "--use_bigstream"),
        *("--aff_scale", "lowres", "--def_scale", "lowres", "--apply_scale", "lowres", "--outdir", str(results)),
        *("--bigstream_workers", str(_WORKERS), "--bigstream_worker_cpus", "1", "--bigstream_worker_mem_gb", "4"),
    ]
    log.info("the workflow")
    outcome = run(command, limit=_LIMIT)
    row = {"label": "all of it through Nextflow", **cost_values(outcome)}
    if not outcome.fault:
        row |= _likeness(data, [f"{results}/pair/transform.zarr"])
    return row
