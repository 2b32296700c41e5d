"""From how far off the global step finds its way: success over random maps of the real pair.

    TERALIGN_TEST_DATA=… python -m benchmarks.robustness [--seeds 50] [--records FILE]

Both rounds are taken at half of lowres. The moving one is brought onto the fixed one by its own alignment and then
seen through a random map about the middle, on a grid as large as before, so that tissue leaves the field of view. The
default steps must find that map: a success is a median error below 5 µm, 1.4 voxels, over the fixed foreground.

    shift       uniform up to 40 % of the field of view along each axis: down to a fifth of the tissue is shared
    rotation    uniform up to 30° about a random axis, and shifts up to 10 %
    scale       uniform within ±10 % for each axis, and shifts up to 10 %
    half gone   half of the moving image's blobs painted over with their surroundings; shifts up to 10 %
    inverted    bright for dark; shifts up to 10 %

With --records each trial is kept in a file, and the same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from benchmarks.tables import Row, markdown
from teralign.configuration import load_config
from teralign.grids import Floats
from teralign.registration import Image, align
from teralign.registration.blobs import find_blobs
from teralign.transforms import Affine, Stack, warp
from teralign.volumes import open_volume

log = logging.getLogger("benchmarks")
KINDS = ("shift", "rotation", "scale", "half gone", "inverted")
COLUMNS = {
    "": "kind",
    "seeds": "seeds:d",
    "success": "success:.0%",
    "median error µm": "median:.2f",
    "worst success": "worst:.2f",
    "CPU s each": "cpu_s:.1f",
    "failed seeds": "failed",
}
_SUCCESS = 5.0  # µm
_SHIFT = 0.1  # of the field of view, where shifts are not what is tried
_POINTS = 5000
_RADII = (8.0, 12.0, 16.0)  # µm, of the blobs that are painted over


class _Trial(TypedDict):
    kind: str
    seed: int
    error_um: float
    cpu_s: float


def robustness(data: Path, seeds: Sequence[int], records: Path | None, threads: int = 1) -> list[Row]:
    """Try every kind of map with every seed; gives a row a kind."""
    trials = _read(records)
    fixed, moving, points = _aligned_pair(data, threads)
    for seed, kind in itertools.product(seeds, KINDS):
        if (kind, seed) in trials:
            continue
        error, cpu = _try(kind, seed, fixed, moving, points, threads)
        trials[kind, seed] = {"kind": kind, "seed": seed, "error_um": error, "cpu_s": cpu}
        line = json.dumps(trials[kind, seed])
        log.info("%s", line)
        if records is not None:
            with records.open("a") as file:
                file.write(line + "\n")
    return [_summary(kind, [trials[kind, seed] for seed in seeds]) for kind in KINDS]


def _try(kind: str, seed: int, fixed: Image, moving: Image, points: Floats, threads: int) -> tuple[float, float]:
    """The median error in µm at the points after the default steps, and the CPU seconds that they took."""
    rng = np.random.default_rng([KINDS.index(kind), seed])
    true = random_map(kind, rng, fixed)
    seen = _seen(moving, true)
    if kind == "half gone":
        seen = _without_half(seen, rng)
    elif kind == "inverted":
        array = seen.array
        seen = Image(np.where(array > 0, array.max() + 1 - array, 0).astype(array.dtype), seen.grid)
    steps, cpu = load_config(None).steps("global_align"), time.process_time()
    found = align(fixed, seen, steps, initial_transform=Stack(), threads=threads).transform
    cpu = time.process_time() - cpu
    error = np.linalg.norm(found.map_points(points) - true.map_points(points), axis=1)
    return float(np.median(error)), cpu


def random_map(kind: str, rng: np.random.Generator, fixed: Image) -> Affine:
    """A map of the kind from fixed to moving points, about the middle of the fixed image."""
    linear, centre = np.eye(3), fixed.grid.centre
    if kind == "rotation":
        axis = rng.normal(size=3)
        linear = Rotation.from_rotvec(axis / np.linalg.norm(axis) * rng.uniform(0, 30), degrees=True).as_matrix()
    elif kind == "scale":
        linear = np.diag(rng.uniform(0.9, 1.1, 3))
    most = 0.4 if kind == "shift" else _SHIFT
    shift = rng.uniform(-most, most, 3) * fixed.grid.extent
    return Affine.from_parts(linear, centre + shift - linear @ centre)


def _aligned_pair(data: Path, threads: int) -> tuple[Image, Image, Floats]:
    """Both rounds at half of lowres, moving on the grid of fixed and aligned to it, and points of the foreground."""
    images = []
    for name in ("fix", "mov"):
        volume = open_volume(data / f"{name}.n5" / "lowres")
        images.append(Image(volume.read(), volume.grid).downsample((2, 2, 2)))
    fixed, moving = images
    found = align(
        fixed, moving, load_config(None).steps("global_align"), initial_transform=Stack(), threads=threads
    ).transform
    array = warp(moving.array, moving.grid, grid=fixed.grid, region=fixed.grid.region, transform=found)
    smooth = ndimage.gaussian_filter(fixed.array, 1.0)
    index = np.argwhere((smooth > np.percentile(smooth, 75)) & (array > 0))
    chosen = np.random.default_rng(0).choice(len(index), _POINTS, replace=False)
    return fixed, Image(array, fixed.grid), fixed.grid.to_physical(index[chosen])


def _seen(image: Image, true: Affine) -> Image:
    """The image on its own grid after a map has moved it."""
    grid = image.grid
    array = warp(image.array, grid, grid=grid, region=grid.region, transform=Stack((true.inverse(),)))
    return Image(array, grid)


def _without_half(image: Image, rng: np.random.Generator) -> Image:
    """Half of the blobs replaced by the image as it looks around them."""
    blobs = find_blobs(image, _RADII, count=100_000)
    gone = blobs.points[rng.permutation(len(blobs))[: len(blobs) // 2]]
    marks = np.ones(image.grid.shape, np.float32)
    marks[tuple(np.rint(image.grid.to_index(gone)).astype(int).T)] = 0
    distance = ndimage.distance_transform_edt(marks, sampling=image.grid.spacing)
    cover = np.clip(1.5 - distance / _RADII[1], 0, 1).astype(np.float32)
    coarse = image.downsample((3, 3, 3))
    background = Image(ndimage.percentile_filter(coarse.array, 20, size=3), coarse.grid)
    axes = [image.grid.origin[a] + image.grid.spacing[a] * np.arange(n) for a, n in enumerate(image.grid.shape)]
    around, _ = background.sample(np.stack(np.meshgrid(*axes, indexing="ij"), -1))
    return Image(image.array + cover * (np.minimum(around, image.array) - image.array), image.grid)


def _summary(kind: str, trials: Sequence[_Trial]) -> Row:
    errors = np.array([trial["error_um"] for trial in trials])
    good = errors < _SUCCESS
    return {
        "kind": kind,
        "seeds": len(trials),
        "success": float(good.mean()),
        "median": float(np.median(errors)),
        "worst": float(errors[good].max()) if good.any() else None,
        "cpu_s": float(np.mean([trial["cpu_s"] for trial in trials])),
        "failed": ", ".join(str(trial["seed"]) for trial, ok in zip(trials, good, strict=True) if not ok),
    }


def _read(records: Path | None) -> dict[tuple[str, int], _Trial]:
    if records is None or not records.exists():
        return {}
    trials = [json.loads(line) for line in records.read_text().splitlines()]
    return {(trial["kind"], trial["seed"]): trial for trial in trials}


def main() -> None:
    """Try, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=50, help="how many maps of each kind")
    parser.add_argument("--records", type=Path, help="where trials are kept, to go on from")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    logging.basicConfig(format="%(message)s")
    log.setLevel(logging.INFO)
    data = Path(os.environ["TERALIGN_TEST_DATA"]) / "easifish"
    print(markdown(robustness(data, range(options.seeds), options.records, options.threads), COLUMNS))


if __name__ == "__main__":
    main()
