#!/usr/bin/env python3
"""synthetic_pairs.py PAIR_DIR…: affine and deformable alignment of pairs whose true map is known, one JSON line each.

A pair is a directory with fixed_low.nrrd, moving_low.nrrd, points_fixed.csv and points_moving.csv (x,y,z in µm): the
points of the fixed image, and where they truly lie. Prints the error in µm at the points, after the affine and after
the deformation, and CPU seconds from the raw arrays to the full map; compile once (any first run) before timing.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from pathlib import Path

import numpy as np

from teralign.grids import Floats, Grid
from teralign.registration.align import align
from teralign.registration.config import AffineConfig, DeformConfig
from teralign.registration.image import Image
from teralign.transforms import Stack
from teralign.volumes import open_volume


def main() -> None:
    """Align every pair and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", nargs="+", type=Path, metavar="PAIR_DIR")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    for pair in options.pairs:
        print(json.dumps({"pair": str(pair)} | measure(pair, options.threads)), flush=True)


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
