"""Volumes that no disk here could hold: a million blocks planned, and a sparse volume warped.

    python -m benchmarks --only giant [--largest 4096,4096,2048]

The volumes to plan for are metadata alone: a terabyte for local-align, more for apply-transform, whose blocks are
larger. The volume to warp has the `--largest` shape (x,y,z; 4096,4096,2048 are 64 GiB of uint16) and voxels in every
64th of its write units only.
"""

from __future__ import annotations

import json
import logging
import math
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.costs import Outcome, run
from benchmarks.tables import COST, Row, cost_values
from teralign.grids import Grid, Triple, reverse_axes
from teralign.transforms import Affine
from teralign.volumes import create_volume

log = logging.getLogger("benchmarks")
COLUMNS = {
    "": "label",
    "blocks": "blocks",
    **COST,
    "GiB of the largest process": "largest_gib:.2f",
    "GiB of a worker, predicted": "predicted_gib:.2f",
}
_TERABYTE = (10240, 10240, 10240)
_MILLION_FAMILIES = (25600, 25600, 25600)  # of 256³ voxels, in N5
_EVERY = 64
# What a run does before its first block, and a run that goes on: all blocks by name, and which of them have a record.
_LISTING = """
import json, sys
from teralign.blockwise import Workspace, plan_blocks
plan = plan_blocks((10000,) * 3, (100,) * 3, 0.1, min_halo=8)
recorded = Workspace(sys.argv[1]).recorded("align")
print(json.dumps({"blocks": {"align": sum(block.name not in recorded for block in plan)}}))
"""


def giant(shape: Triple, workers: int) -> Iterator[Row]:
    """The plans, then the sparse volume of this shape (z, y, x)."""
    with tempfile.TemporaryDirectory() as folder:
        yield from plans(Path(folder))
        yield sparse(Path(folder), shape, workers)


def plans(folder: Path) -> Iterator[Row]:
    """What planning a million blocks costs."""
    shift = _shift(folder)
    small, large = (_blank(folder / f"{n[0]}.n5", n, "uint8") for n in (_TERABYTE, _MILLION_FAMILIES))
    commands = {
        "local-align, a terabyte": (
            *("local-align", f"--fixed={small}", f"--moving={small}", f"--initial-transform={shift}"),
            *(f"--output={folder}/field.zarr", "--steps=deform", "--block-size=100", "--dry-run"),
        ),
        "apply-transform, 17 terabytes": (
            *("apply-transform", f"--fixed={large}", f"--moving={large}", f"--transform={shift}"),
            *(f"--output={folder}/warped.n5", "--dry-run"),
        ),
    }
    for label, arguments in commands.items():
        log.info("%s", label)
        yield _row(f"{label}, planned", run([sys.executable, "-m", "teralign", *arguments], limit=math.inf))
    log.info("listing")
    yield _row("blocks listed, records looked for", run([sys.executable, "-c", _LISTING, folder], limit=math.inf))


def sparse(folder: Path, shape: Triple, workers: int) -> Row:
    """What apply-transform costs on a volume that is nearly empty."""
    fixed, moving = _blank(folder / "fixed.zarr", shape, "uint8"), folder / "moving.zarr"
    writer = create_volume(moving, grid=Grid(shape, (1.0, 1.0, 1.0)), dtype="uint16", levels=1)
    rng = np.random.default_rng(0)
    for number, unit in enumerate(writer.levels[0].region.split(writer.write_shape)):
        if number % _EVERY == 0:
            writer.write(unit, rng.integers(0, 2**12, unit.shape, dtype=np.uint16))
    command = [
        *(sys.executable, "-m", "teralign", "apply-transform", f"--fixed={fixed}", f"--moving={moving}"),
        *(f"--transform={_shift(folder)}", f"--output={folder}/warped.zarr"),
        *(f"--workers={workers}", "--worker-cpus=1", "--worker-mem-gb=4"),
    ]
    plan = json.loads(run([*command, "--dry-run"], limit=math.inf).stdout)
    log.info("apply-transform on a sparse volume")
    gib = 2 * math.prod(shape) / 2**30
    label = f"apply-transform, {'×'.join(map(str, reverse_axes(shape)))} voxels, {gib:.0f} GiB, sparse"
    row = _row(label, run(command, limit=math.inf))
    return row | {"blocks": sum(plan["blocks"].values()), "predicted_gib": plan["worker_memory_bytes"] / 2**30}


def _blank(path: Path, shape: Triple, dtype: str) -> Path:
    """A volume of metadata alone."""
    create_volume(path, grid=Grid(shape, (1.0, 1.0, 1.0)), dtype=dtype, levels=1)
    return path


def _shift(folder: Path) -> Path:
    path = folder / "shift.mat"
    Affine.from_parts(np.eye(3), (0.3, 10.4, 20.0)).save(path)
    return path


def _row(label: str, outcome: Outcome) -> Row:
    row: Row = {"label": label, **cost_values(outcome), "largest_gib": outcome.cost.largest_gib}
    if not outcome.fault:
        row["blocks"] = sum(json.loads(outcome.stdout).get("blocks", {}).values())
    return row
