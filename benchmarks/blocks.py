"""local-align in one block and in blocks of 64³ voxels: error on made pairs, whose true map is known, and seams.

Jumps are second differences of the field's nodes: their mean across faces of blocks over that elsewhere, along z, y
and x together. What the tissue has at those planes, face or no face, the field of the one block tells.
"""

from __future__ import annotations

import logging
import math
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks import scores
from benchmarks.costs import run
from benchmarks.pairs import made_pair
from benchmarks.tables import COST, Row, cost_values
from teralign.registration import load_config
from teralign.tasks.stages import Layout
from teralign.transforms import Affine, Stack, StoredField
from teralign.volumes import open_volume

log = logging.getLogger("benchmarks")
COLUMNS = {
    "": "label",
    "seed": "seed:d",
    "mean µm": "mean:.3f",
    "median": "median:.3f",
    "p95": "p95:.3f",
    "p99": "p99:.3f",
    "jumps at faces": "jumps:.2f",
    **COST,
}
_SIZES = {"one block": (128, 128, 192), "blocks of 64³": (64, 64, 64)}


def blocks(data: Path, seeds: Sequence[int], workers: int) -> Iterator[Row]:
    """Every pair in one block and in several, from the affine that global-align has found."""
    for seed in seeds:
        pair = made_pair(data, seed)
        with tempfile.TemporaryDirectory() as folder:
            affine = Path(folder, "affine.mat")
            _command("global-align", pair, affine)
            for label, size in _SIZES.items():
                field = Path(folder, f"{size[0]}.zarr")
                options = [f"--initial-transform={affine}", f"--block-size={','.join(map(str, size[::-1]))}"]
                row = _command("local-align", pair, field, *options, f"--workers={workers}", "--worker-cpus=1")
                yield {"label": label, "seed": seed, **row, **_quality(pair, affine, field)}


def _command(name: str, pair: Path, output: Path, *options: str) -> Row:
    """What a command cost. It must not fail: there is nothing to score then."""
    log.info("%s, %s", name, output.name)
    volumes = [f"--{role}={pair}/{role}_low.nrrd" for role in ("fixed", "moving")]
    outcome = run([sys.executable, "-m", "teralign", name, *volumes, f"--output={output}", *options], limit=math.inf)
    if outcome.fault:
        raise SystemExit(f"{name} {outcome.fault}")
    return cost_values(outcome)


def _quality(pair: Path, affine: Path, stored: Path) -> Row:
    fixed, moving = (np.loadtxt(pair / f"points_{name}.csv", delimiter=",")[:, ::-1] for name in ("fixed", "moving"))
    field = StoredField.open(stored).read()
    found = Stack((Affine.from_file(affine), field)).map_points(fixed)
    grid = open_volume(pair / "fixed_low.nrrd").grid
    layout = Layout.of(grid, None, _SIZES["blocks of 64³"], load_config().block_overlap)
    return {**scores.errors(found, moving), "jumps": jumps_at_faces(field.values, layout)}


def jumps_at_faces(values: NDArray[np.float32], layout: Layout) -> float:
    """The mean second difference of nodes (z, y, x, 3) across faces of blocks over that elsewhere."""
    faces, others = [], []
    for axis, (edges, stride) in enumerate(zip(layout.blocks.edges, layout.strides, strict=True)):
        jumps = np.linalg.norm(np.diff(values, n=2, axis=axis), axis=-1)
        near = {edge // stride + step for edge in edges[1:-1] for step in (-2, -1, 0)}
        at_face = np.isin(np.arange(jumps.shape[axis]), list(near))
        faces.append(np.compress(at_face, jumps, axis=axis).ravel())
        others.append(np.compress(~at_face, jumps, axis=axis).ravel())
    return float(np.concatenate(faces).mean() / np.concatenate(others).mean())
