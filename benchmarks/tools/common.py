"""What the tools' scripts share: one command line, and how maps and affines are written down.

    TOOL.py align FIXED MOVING OUT [--start AFFINE] [--affine-only] [--threads N]     the cost of this is measured
    TOOL.py map FIXED MOVING OUT                                                      the cost of this is not

FIXED and MOVING are NRRD files; AFFINE and OUT/affine.mat are 4×4, zyx, µm, fixed to moving. `map` writes
OUT/map.npy, float32 (z, y, x, 3): where the centre of each fixed voxel lies in the moving image, zyx in µm. `align`
writes what `map` needs, and OUT/align.json with the CPU seconds that went into aligning, without starting, reading
and writing.

Needs numpy only: it runs in the environments of the peers.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Job:
    """What to align, and from where; `start` is an affine to begin at, None for the tool's own start."""

    fixed: Path
    moving: Path
    out: Path
    start: np.ndarray | None
    affine_only: bool
    threads: int

    @contextmanager
    def aligning(self) -> Iterator[None]:
        """Count the CPU seconds of this part, children included."""
        before = sum(os.times()[:4])
        yield
        (self.out / "align.json").write_text(json.dumps({"aligning_cpu_s": sum(os.times()[:4]) - before}))


def main(align: Callable[[Job], None], find_map: Callable[[Job], np.ndarray]) -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("action", choices=("align", "map"))
    parser.add_argument("fixed", type=Path)
    parser.add_argument("moving", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--start", type=np.loadtxt)
    parser.add_argument("--affine-only", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    job = Job(options.fixed, options.moving, options.out, options.start, options.affine_only, options.threads)
    if options.action == "align":
        align(job)
    else:
        np.save(job.out / "map.npy", find_map(job).astype(np.float32))


def flattened(image: np.ndarray) -> np.ndarray:
    """Background at 0 and the brightest 0.05 % clipped, float32: the same for every peer."""
    sample = image[::4, ::4, ::4]
    background = np.median(sample)
    return np.clip(image.astype(np.float32) - background, 0, np.percentile(sample, 99.95) - background)


def centre_of_mass(image: np.ndarray, spacing: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """The centre of mass (z, y, x) in µm."""
    total = image.sum(dtype=np.float64)
    sums = [image.sum(axis=tuple(a for a in range(3) if a != axis), dtype=np.float64) for axis in range(3)]
    return origin + spacing * [s @ np.arange(s.size) / total for s in sums]


def voxel_centres(shape: tuple[int, ...], spacing: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """The positions (z, y, x, 3) of a grid's voxels in µm."""
    axes = [o + s * np.arange(n) for n, s, o in zip(shape, spacing, origin, strict=True)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), -1)


def reverse_axes(matrix: np.ndarray) -> np.ndarray:
    """A 4×4 for zyx made one for xyz, or back."""
    order = [2, 1, 0, 3]
    return np.asarray(matrix)[np.ix_(order, order)]


def mapped(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Points (…, 3) through a 4×4."""
    return points @ matrix[:3, :3].T + matrix[:3, 3]
