"""local-align in one block and in blocks of 64³ voxels: error on made pairs, whose true map is known, and seams.

Jumps are second differences of the field's nodes: their mean across faces of blocks over that elsewhere, along z, y
and x together. What the tissue has at those planes, face or no face, the field of the one block tells.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks import scores
from benchmarks.commands import command
from benchmarks.pairs import made_pair
from benchmarks.tables import COST, ERRORS, Row
from teralign.alignment.stages import BlockLayout
from teralign.configuration import load_config
from teralign.transforms import StoredField, load_stack
from teralign.volumes import open_volume

COLUMNS = {
    "": "label",
    "seed": "seed:d",
    **ERRORS,
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
            volumes = [f"--{role}={pair}/{role}_low.nrrd" for role in ("fixed", "moving")]
            command("global-align", *volumes, f"--output={affine}")
            for label, size in _SIZES.items():
                field = Path(folder, f"{size[0]}.zarr")
                cut = f"--block-size={','.join(map(str, size[::-1]))}"
                cluster = [f"--workers={workers}", "--worker-cpus=1"]
                row = command(
                    "local-align", *volumes, f"--initial-transform={affine}", f"--output={field}", cut, *cluster
                )
                yield {"label": label, "seed": seed, **row, **_quality(pair, field)}


def _quality(pair: Path, stored: Path) -> Row:
    fixed, moving = (np.loadtxt(pair / f"points_{name}.csv", delimiter=",")[:, ::-1] for name in ("fixed", "moving"))
    found = load_stack([stored]).map_points(fixed)
    grid = open_volume(pair / "fixed_low.nrrd").grid
    layout = BlockLayout.of(grid, None, _SIZES["blocks of 64³"], load_config().block_overlap)
    return {**scores.errors(found, moving), "jumps": jumps_at_faces(StoredField.open(stored).read().values, layout)}


def jumps_at_faces(values: NDArray[np.float32], layout: BlockLayout) -> float:
    """The mean second difference of nodes (z, y, x, 3) across faces of blocks over that elsewhere."""
    faces, others = [], []
    for axis, (edges, stride) in enumerate(zip(layout.blocks.edges, layout.strides, strict=True)):
        jumps = np.linalg.norm(np.diff(values, n=2, axis=axis), axis=-1)
        near = {edge // stride + step for edge in edges[1:-1] for step in (-2, -1, 0)}
        at_face = np.isin(np.arange(jumps.shape[axis]), list(near))
        faces.append(np.compress(at_face, jumps, axis=axis).ravel())
        others.append(np.compress(~at_face, jumps, axis=axis).ravel())
    return float(np.concatenate(faces).mean() / np.concatenate(others).mean())
