"""`demo-score`: how well an alignment of the demo data found the true map."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from teralign.errors import InputError
from teralign.report import landmark_errors
from teralign.transforms import Stack, load_stack


def demo_score(demo_dir: Path, result_dir: Path) -> dict[str, Any]:
    """The error over the landmarks of `demo_dir`, median and 95th percentile in µm.

    Before is without any transform, global with affine.mat of `result_dir`, after with transform.zarr too.

    Raises InputError when a file is missing.
    """
    affine, field = result_dir / "affine.mat", result_dir / "transform.zarr"
    for path in (affine, field):
        if not path.exists():
            raise InputError(f"there is no {path}; RESULT_DIR must hold affine.mat and transform.zarr.")
    stacks = {"before": Stack(), "global": load_stack([affine]), "after": load_stack([affine, field])}
    landmarks = demo_dir / "landmarks_fixed.csv", demo_dir / "landmarks_moving.csv"
    errors = {name: landmark_errors(stack, *landmarks) for name, stack in stacks.items()}
    return {
        **{
            f"tre_um_{name}": {key: round(error[key], 4) for key in ("median", "p95")}
            for name, error in errors.items()
        },
        "landmarks": errors["after"]["n"],
        "outdir": str(result_dir),
    }
