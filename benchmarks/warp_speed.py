"""How fast images and points are warped, in Mvoxel (Mpoint) per CPU-second; compiling is not counted.

    python -m benchmarks.warp_speed [--size 256] [--repeat 5]

A volume of noise under a small rotation and a random field with a node every 4 voxels, the best of some repeats.
"""

from __future__ import annotations

import argparse
import functools
import time
from collections.abc import Callable, Iterator

import numpy as np

from benchmarks.tables import Row, markdown
from teralign.grids import Grid
from teralign.transforms import Affine, DisplacementField, Stack, needed_region, node_positions, warp

SPACING = (1.68, 1.84, 1.84)
COLUMNS = {"": "case", "M voxels or points a CPU s": "speed:.1f"}


def warp_speed(size: int = 256, repeat: int = 5) -> Iterator[Row]:
    """Measure; gives a row a case."""
    rng = np.random.default_rng(0)
    grid = Grid((size,) * 3, SPACING)
    nodes = grid.nodes((4, 4, 4))
    field = DisplacementField(rng.normal(size=(*nodes.shape, 3)).astype(np.float32), nodes)
    affine = _rotation(grid, 3.0)
    both = Stack((affine, field))
    image = rng.integers(0, 60000, grid.shape).astype(np.uint16)
    cases: list[tuple[str, np.ndarray, Stack, str]] = [
        ("linear, uint16, [affine]", image, Stack((affine,)), "linear"),
        ("linear, uint16, [affine, field]", image, both, "linear"),
        ("linear, uint16, [field, affine]", image, Stack((field, affine)), "linear"),
        ("nearest, uint16, [affine, field]", image, both, "nearest"),
        ("cubic, uint16, [affine, field]", image, both, "cubic"),
        ("linear, uint8, [affine, field]", image.astype(np.uint8), both, "linear"),
        ("linear, float32, [affine, field]", image.astype(np.float32), both, "linear"),
    ]
    works: list[tuple[str, int, Callable[[], object]]] = [
        (name, array.size, functools.partial(_warp, array, grid, stack, how)) for name, array, stack, how in cases
    ]
    pair, points = np.stack([image, image]), rng.permutation(node_positions(nodes))
    smooth = Stack((affine, DisplacementField(_waves(nodes), nodes)))
    works += [
        (
            "linear, uint16, two channels, [affine, field]",
            pair.size,
            lambda: warp(pair, grid, grid=grid, region=grid.region, transform=both),
        ),
        ("needed region, [affine, field]", image.size, lambda: needed_region(both, grid, grid.region, grid)),
        ("points, [affine, field]", len(points), lambda: both.map_points(points)),
        ("points back, [affine, smooth field]", len(points), lambda: smooth.inverse_map_points(points)),
    ]
    for name, count, work in works:
        yield {"case": name, "speed": count / _least_seconds(work, repeat) / 1e6}


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=256, help="voxels along each axis")
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    print(markdown(list(warp_speed(options.size, options.repeat)), COLUMNS))


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
