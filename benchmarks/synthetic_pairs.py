#!/usr/bin/env python3
"""synthetic_pairs.py PAIR_DIR…: affine and deformable alignment of pairs whose true map is known, one JSON line each.

A pair is a directory with fixed_low.nrrd, moving_low.nrrd, points_fixed.csv and points_moving.csv (x,y,z in µm): the
points of the fixed image, and where they truly lie. Prints the error in µm at the points, after the affine and after
the deformation, and CPU seconds from the raw arrays to the full map; compile once (any first run) before timing.

With --blocks N the deformation is local-align's, in one block and in blocks of N³ voxels; then also the seam along z,
y, x: the mean second difference of the field's nodes at the faces of blocks over that elsewhere.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from teralign.grids import Floats, Grid, Triple
from teralign.registration import load_config
from teralign.registration.align import align
from teralign.registration.config import AffineConfig, DeformConfig
from teralign.registration.image import Image
from teralign.tasks.local_align import local_align
from teralign.tasks.stages import Layout
from teralign.transforms import DisplacementField, Stack, StoredField
from teralign.volumes import open_volume


def main() -> None:
    """Align every pair and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", nargs="+", type=Path, metavar="PAIR_DIR")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--blocks", type=int, metavar="N", help="local-align, whole and in blocks of N³ voxels")
    options = parser.parse_args()
    for pair in options.pairs:
        found = by_blocks(pair, options.blocks) if options.blocks else measure(pair, options.threads)
        print(json.dumps({"pair": str(pair)} | found), flush=True)


def measure(pair: Path, threads: int) -> dict[str, object]:
    """Error and cost of one pair."""
    fixed, moving = (read(pair / f"{name}_low.nrrd") for name in ("fixed", "moving"))
    truth = points(pair / "points_fixed.csv"), points(pair / "points_moving.csv")
    cpu, start = time.process_time(), Stack()
    results: dict[str, object] = {}
    for name, step in (("affine", AffineConfig()), ("deform", DeformConfig())):
        start = start.then(*align(fixed, moving, [step], start=start, threads=threads).transform.transforms)
        results[name] = errors(start, *truth)
    results["cpu_s"] = round(time.process_time() - cpu, 2)
    results["peak_gib"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)
    return results


def by_blocks(pair: Path, size: int) -> dict[str, object]:
    """Error in one block, and error and seam in blocks of `size`³ voxels."""
    fixed, moving = (read(pair / f"{name}_low.nrrd") for name in ("fixed", "moving"))
    truth = points(pair / "points_fixed.csv"), points(pair / "points_moving.csv")
    affine = align(fixed, moving, [AffineConfig()], start=Stack()).transform.affine
    assert affine is not None
    results: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as folder:
        affine.save(Path(folder, "affine.mat"))
        for name, shape in (("one_block", fixed.grid.shape), ("blocks", (size, size, size))):
            field = local_field(pair, Path(folder), name, shape)
            results[name] = errors(Stack((affine, field)), *truth)
    results["seam"] = seam(field.values, Layout.of(fixed.grid, None, (size, size, size), load_config().block_overlap))
    return results


def local_field(pair: Path, folder: Path, name: str, block_size: Triple) -> DisplacementField:
    """What local-align finds in blocks of this size."""
    output = folder / f"{name}.zarr"
    local_align(
        *(str(pair / f"{role}_low.nrrd") for role in ("fixed", "moving")),
        output=output,
        initial_transforms=[folder / "affine.mat"],
        block_size=block_size,
    )
    return StoredField.open(output).read()


def seam(values: NDArray[np.float32], layout: Layout) -> list[float]:
    """The mean second difference of nodes (z, y, x, 3) across faces of blocks over that elsewhere, axis by axis."""
    ratios = []
    for axis, (edges, stride) in enumerate(zip(layout.blocks.edges, layout.strides, strict=True)):
        jumps = np.linalg.norm(np.diff(values, n=2, axis=axis), axis=-1)
        near = {edge // stride + step for edge in edges[1:-1] for step in (-2, -1, 0)}
        at_face = np.isin(np.arange(jumps.shape[axis]), list(near))
        if at_face.any():
            means = (np.compress(where, jumps, axis=axis).mean() for where in (at_face, ~at_face))
            ratios.append(round(float(next(means) / next(means)), 2))
    return ratios


def read(path: Path) -> Image:
    """A whole volume."""
    volume = open_volume(path)
    return Image(volume.read(), Grid(volume.grid.shape, volume.grid.spacing, volume.grid.origin))


def points(path: Path) -> Floats:
    """Points (n, 3) zyx of a file of x,y,z lines."""
    listed: Floats = np.loadtxt(path, delimiter=",", usecols=(2, 1, 0))
    return listed


def errors(transform: Stack, fixed: Floats, moving: Floats) -> dict[str, float]:
    """Distances in µm from where the points go to where they belong."""
    distance = np.linalg.norm(transform.map_points(fixed) - moving, axis=1)
    p95, p99 = np.percentile(distance, (95, 99))
    return {name: round(float(v), 3) for name, v in (("mean", distance.mean()), ("p95", p95), ("p99", p99))}


if __name__ == "__main__":
    main()
