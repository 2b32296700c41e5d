"""`demo-score`: the error of an alignment of the demo data, against the true transform."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from teralign.errors import InputError
from teralign.evaluation import LandmarkErrors, landmark_errors
from teralign.transforms import Stack, load_stack


@dataclass(frozen=True)
class Spread:
    """The median and the 95th percentile of the errors at the landmarks, in µm."""

    median: float
    p95: float

    @classmethod
    def of(cls, errors: LandmarkErrors) -> Spread:
        """Return the errors rounded to 0.1 nm."""
        return cls(round(errors.median, 4), round(errors.p95, 4))


@dataclass(frozen=True)
class DemoScore:
    """Errors without a transform, with affine.mat, and with transform.zarr of `outdir`."""

    tre_um_before: Spread
    tre_um_global: Spread
    tre_um_after: Spread
    landmarks: int
    outdir: str


def demo_score(demo_dir: str | Path, result_dir: str | Path) -> DemoScore:
    """Return the errors of the affine.mat and transform.zarr of `result_dir` at the landmarks of `demo_dir`.

    Raises InputError when a file is missing.
    """
    demo_dir, result_dir = Path(demo_dir), Path(result_dir)
    affine, field = result_dir / "affine.mat", result_dir / "transform.zarr"
    for path in (affine, field):
        if not path.exists():
            raise InputError(f"there is no {path}; RESULT_DIR must hold affine.mat and transform.zarr.")
    landmarks = demo_dir / "landmarks_fixed.csv", demo_dir / "landmarks_moving.csv"
    stacks = (Stack(), load_stack([affine]), load_stack([field]))
    before, global_, after = (landmark_errors(stack, *landmarks) for stack in stacks)
    return DemoScore(Spread.of(before), Spread.of(global_), Spread.of(after), after.n, str(result_dir))
