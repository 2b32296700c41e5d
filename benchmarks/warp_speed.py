"""How fast images and points are warped, in Mvoxel (Mpoint) per CPU-second; compiling is not counted.

    python benchmarks/warp_speed.py [--size 256] [--repeat 5]

A volume of noise under a small rotation and a random field with a node every 4 voxels, the best of some repeats.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np

from teralign.grids import Grid
from teralign.transforms import Affine, DisplacementField, Stack, needed_region, node_positions, warp, warp_channels

SPACING = (1.68, 1.84, 1.84)


def main() -> None:
    """Measure, and print one line a case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=256, help="voxels along each axis")
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    grid = Grid((options.size,) * 3, SPACING)
    nodes = grid.coarsen((4, 4, 4))
    field = DisplacementField(rng.normal(size=(*nodes.shape, 3)).astype(np.float32), nodes)
    affine = _rotation(grid, 3.0)
    stacks = {
        "affine": Stack((affine,)),
        "affine, field": Stack((affine, field)),
        "field, affine": Stack((field, affine)),
    }
    image = rng.integers(0, 60000, grid.shape).astype(np.uint16)

    def report(what: str, count: int, work: Callable[[], object]) -> None:
        seconds = _least_seconds(work, options.repeat)
        print(f"{what:50s} {count / seconds / 1e6:8.1f} M / CPU-s")

    for name, stack in stacks.items():
        report(f"linear, uint16, [{name}]", image.size, lambda s=stack: _warp(image, grid, s, "linear"))
    both = stacks["affine, field"]
    for interpolation in ("nearest", "cubic"):
        report(
            f"{interpolation}, uint16, [affine, field]",
            image.size,
            lambda i=interpolation: _warp(image, grid, both, i),
        )
    for dtype in (np.uint8, np.float32):
        other = image.astype(dtype)
        report(f"linear, {other.dtype}, [affine, field]", image.size, lambda a=other: _warp(a, grid, both, "linear"))
    pair = np.stack([image, image])
    report(
        "linear, uint16, two channels, [affine, field]",
        pair.size,
        lambda: warp_channels(pair, grid, grid=grid, region=grid.region, transform=both),
    )
    report("needed_region, [affine, field]", image.size, lambda: needed_region(both, grid, grid.region, grid))
    points = rng.permutation(node_positions(nodes))
    report("points, [affine, field]", len(points), lambda: both.map_points(points))
    smooth = Stack((affine, DisplacementField(_waves(nodes), nodes)))
    report("points back, [affine, smooth field]", len(points), lambda: smooth.inverse_map_points(points))


def _warp(image: np.ndarray, grid: Grid, stack: Stack, interpolation: str) -> np.ndarray:
    return warp(image, grid, grid=grid, region=grid.region, transform=stack, interpolation=interpolation)


def _rotation(grid: Grid, degrees: float) -> Affine:
    angle = np.deg2rad(degrees)
    linear = np.eye(3)
    linear[1:, 1:] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return Affine.from_parts(linear, grid.centre - linear @ grid.centre)


def _waves(nodes: Grid) -> np.ndarray:
    """A smooth field, 5 µm high and 100 µm long."""
    z, y, x = (node_positions(nodes) / 16).T
    return (5 * np.stack([np.sin(y) * np.cos(x), np.sin(z + x), np.cos(y + z)], axis=1)).reshape(*nodes.shape, 3)


def _least_seconds(work: Callable[[], object], repeat: int) -> float:
    work()
    seconds = []
    for _ in range(repeat):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return min(seconds)


if __name__ == "__main__":
    main()
