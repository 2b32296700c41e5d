"""How well the estimated error follows the true one, on pairs with a known map in many regimes.

    TERALIGN_TEST_DATA=… python -m benchmarks error-estimate [--fitted] [--seeds 2] [--only NAME …]

Each pair (`known_maps`) of 64×80×96 voxels, about a block of `local-align`, is aligned in memory: every other one by
the default deformation from the affine nearest to its true map, the others as a block is after a coarser stage. The
root mean square of the true error over bright voxels (above the 75th percentile) that the moving image shows is
compared with the estimate: over the block, and over its cubes of 32 voxels. Values below 0.1 µm count as 0.1 µm. By
default the regimes, parts and seeds are those that the constants of the estimate were not fitted on; `--fitted` runs
the ones that they were.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from benchmarks.known_maps import KnownPair, Regime, known_pair
from benchmarks.tables import Row, markdown
from teralign.alignment.stages import COARSER
from teralign.grids import Floats, Triple
from teralign.registration import DeformConfig, align
from teralign.transforms import Stack
from teralign.trust import cubes_over, estimate_errors

log = logging.getLogger("benchmarks")
FITTED = (
    Regime("base"),
    Regime("other round", volume="mov"),
    Regime("12 µm, knots 90", 90, 12),
    Regime("18 µm, knots 90", 90, 18),
    Regime("10 µm, knots 50", 50, 10),
    Regime("8 µm, knots 40", 40, 8),
    Regime("3 µm, knots 30", 30, 3),
    Regime("3 µm, knots 25", 25, 3),
    Regime("SNR 5", snr=5),
    Regime("SNR 3", snr=3),
    Regime("SNR 1.5", snr=1.5),
    Regime("SNR 1", snr=1),
    Regime("blur z 3", blur=(3, 0.5)),
    Regime("blur z 4", blur=(4, 0.8)),
    Regime("blur z 6", blur=(6, 1.2)),
    Regime("blur z 8", blur=(8, 1.5)),
    Regime("gamma 0.5", gamma=0.5),
    Regime("gamma 2", gamma=2),
    Regime("inverted", inverted=True),
    Regime("10x fewer photons", photons=0.1),
    Regime("depth 60 µm", depth=60),
    Regime("depth 90 µm", depth=90),
    Regime("stripes 20 %", stripes=0.2),
    Regime("stripes 30 %", stripes=0.3),
    Regime("stripes 60 %", stripes=0.6),
    Regime("15 % saturated", saturated=0.15),
    Regime("30 % saturated", saturated=0.3),
    Regime("contrast wave 2", waves=2.0),
    Regime("moving z 2x", coarser=(1, 2)),
    Regime("both z 3x", coarser=(3, 3)),
    Regime("both z 4x", coarser=(4, 4)),
    Regime("puncta", content="puncta"),
    Regime("sparse puncta", content="sparse"),
    Regime("4 holes", holes=4),
    Regime("slip 8 µm", slip=8),
    Regime("phantom", content="phantom"),
)
HELD_OUT = (
    Regime("base"),
    Regime("other round", volume="mov"),
    Regime("15 µm, knots 70", 70, 15),
    Regime("7 µm, knots 35", 35, 7),
    Regime("4 µm, knots 28", 28, 4),
    Regime("9 µm and SNR 5", 60, 9, snr=5),
    Regime("SNR 4", snr=4),
    Regime("SNR 2", snr=2),
    Regime("SNR 3 and blur z 3", snr=3, blur=(3, 0.5)),
    Regime("blur z 5", blur=(5, 1)),
    Regime("blur yx 1.2", blur=(1, 1.2)),
    Regime("gamma 0.7", gamma=0.7),
    Regime("gamma 1.6", gamma=1.6),
    Regime("inverted and SNR 5", inverted=True, snr=5),
    Regime("30x fewer photons", photons=0.03),
    Regime("depth 45 µm", depth=45),
    Regime("stripes 15 %", stripes=0.15),
    Regime("stripes 40 %", stripes=0.4),
    Regime("5 % saturated", saturated=0.05),
    Regime("20 % saturated", saturated=0.2),
    Regime("contrast wave 1.6", waves=1.6),
    Regime("moving z 3x", coarser=(1, 3)),
    Regime("both z 2x", coarser=(2, 2)),
    Regime("puncta, other round", content="puncta", volume="mov"),
    Regime("puncta and SNR 3", content="puncta", snr=3),
    Regime("2 holes", holes=2),
    Regime("slip 4 µm", slip=4),
    Regime("phantom", content="phantom"),
)
_PARTS: dict[bool, Sequence[Triple]] = {  # corners in voxels of highres
    True: ((40, 50, 60), (50, 280, 80), (110, 30, 150), (120, 270, 150)),
    False: ((70, 300, 20), (10, 60, 160), (90, 260, 40)),
}
COLUMNS = {
    "": "label",
    "blocks": "pairs:d",
    "true µm": "true:.2f",
    "estimate µm": "estimate:.2f",
    "within 1.5": "near:.0%",
    "within 2": "twice:.0%",
    "cubes": "cubes:d",
    "cubes within 1.5": "cubes_near:.0%",
    "cubes within 2": "cubes_twice:.0%",
    "median true / estimate": "ratio:.2f",
    "rank correlation": "rank:.2f",
    "CPU s deform": "deform_s:.2f",
    "estimate": "estimate_s:.2f",
}
_FLOOR = 0.1  # µm
_FEWEST = 200  # bright voxels of a cube


def error_estimate(data: Path, regimes: Sequence[Regime], parts: Sequence[Triple], base: int) -> Iterator[Row]:
    """Yield a row for each regime, and one for all."""
    everything = []
    for number, regime in enumerate(regimes):
        trials = [
            _trial(known_pair(data, regime, base + 100 * k + number, part), refined=(k + number) % 2 == 1)
            for k, part in enumerate(parts)
        ]
        everything += trials
        row = _row(regime.name, trials)
        log.info("%s: %s", regime.name, {k: v for k, v in row.items() if k != "label"})
        yield row
    yield _row("all", everything)


@dataclass(frozen=True)
class _Trial:
    """The true and the estimated error of a pair: in its cubes (n,) and over the image; CPU seconds of both steps."""

    cubes: tuple[Floats, Floats]
    whole: tuple[float, float]
    seconds: tuple[float, float]


def _trial(pair: KnownPair, *, refined: bool) -> _Trial:
    """Align a pair, from a field four times coarser if it is `refined`, and estimate what is left."""
    fixed, moving, grid, start = pair.fixed, pair.moving, pair.fixed.grid, Stack((pair.start,))
    config = DeformConfig()
    if refined:
        coarse = [image.downsample_to(COARSER * min(grid.spacing)) for image in (fixed, moving)]
        steps, nodes = [config.at_stage(COARSER)], coarse[0].grid.nodes((1, 1, 1))
        start = start @ align(*coarse, steps, initial_transform=start, field_grid=nodes).transform
        config = config.at_stage(1, previous=COARSER)
    config = config.with_window_for(float(np.cbrt(np.prod(grid.spacing))))
    began = time.process_time()
    found = align(fixed, moving, [config], initial_transform=start, field_grid=grid.nodes((4, 4, 4)))
    aligned = time.process_time()
    cubes, whole_map = cubes_over(grid), start @ found.transform
    estimates = estimate_errors(
        fixed, moving, transform=whole_map, config=config, cubes=cubes, region=cubes.region
    ).ravel()
    estimated = time.process_time()
    squares, counts = _true_squares(pair, whole_map)
    use = (counts >= _FEWEST) & np.isfinite(estimates)
    true = np.sqrt(squares[use] / counts[use])
    whole = float(np.sqrt(squares.sum() / counts.sum())), float(np.sqrt(np.nanmean(estimates**2)))
    return _Trial((true, estimates[use].astype(np.float64)), whole, (aligned - began, estimated - aligned))


def _true_squares(pair: KnownPair, found: Stack) -> tuple[Floats, Floats]:
    """Return the sums of squared errors (n,) in µm² over the bright voxels of each cube, and their number."""
    grid = pair.fixed.grid
    smooth = ndimage.gaussian_filter(pair.fixed.array.astype(np.float32), 1.0)
    index = np.argwhere(smooth > np.percentile(smooth, 75))[::2]
    points = grid.to_physical(index)
    true, seen = pair.to_moving(points)
    points, true = points[seen], true[seen]
    squares = np.square(found.map_points(points) - true).sum(axis=1)
    cubes = cubes_over(grid)
    cube = np.clip(np.floor(cubes.to_index(points) + 0.5).astype(int), 0, np.array(cubes.shape) - 1)
    flat = np.ravel_multi_index(tuple(cube.T), cubes.shape)
    size = cubes.region.size
    return np.bincount(flat, squares, size), np.bincount(flat, minlength=size).astype(np.float64)


def _row(label: str, trials: Sequence[_Trial]) -> Row:
    true, estimate = (np.array([trial.whole[k] for trial in trials]) for k in (0, 1))
    in_cubes = distance(*(np.concatenate([trial.cubes[k] for trial in trials]) for k in (0, 1)))
    away = distance(true, estimate)
    deform_s, estimate_s = np.mean([trial.seconds for trial in trials], axis=0)
    return {
        "label": label,
        "pairs": len(trials),
        "true": float(np.median(true)),
        "estimate": float(np.median(estimate)),
        "near": float(np.mean(away <= np.log(1.5))),
        "twice": float(np.mean(away <= np.log(2))),
        "cubes": len(in_cubes),
        "cubes_near": float(np.mean(in_cubes <= np.log(1.5))),
        "cubes_twice": float(np.mean(in_cubes <= np.log(2))),
        "ratio": float(np.exp(np.median(np.log(true / estimate)))),
        "rank": _rank_correlation(true, estimate) if len(trials) > 2 else None,
        "factor": float(np.exp(np.quantile(away, 0.8))),
        "cubes_factor": float(np.exp(np.quantile(in_cubes, 0.8))),
        "deform_s": float(deform_s),
        "estimate_s": float(estimate_s),
    }


def distance(true: Floats, estimate: Floats) -> Floats:
    """Return |log(true / estimate)|, with values below the floor as the floor."""
    away: Floats = np.abs(np.log(np.maximum(true, _FLOOR) / np.maximum(estimate, _FLOOR)))
    return away


def _rank_correlation(first: Floats, second: Floats) -> float:
    ranks = [np.argsort(np.argsort(values)) for values in (first, second)]
    return float(np.corrcoef(*ranks)[0, 1])


def main(arguments: Sequence[str] | None = None) -> None:
    """Score, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks error-estimate", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--fitted", action="store_true", help="the regimes that the constants were fitted on")
    parser.add_argument("--seeds", type=int, default=2, help="pairs of each regime, each of another part; default 2")
    parser.add_argument("--only", nargs="+", help="names of regimes")
    options = parser.parse_args(arguments)
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    log.setLevel(logging.INFO)
    regimes = [r for r in (FITTED if options.fitted else HELD_OUT) if not options.only or r.name in options.only]
    parts = list(itertools.islice(itertools.cycle(_PARTS[options.fitted]), options.seeds))
    data = Path(os.environ["TERALIGN_TEST_DATA"]) / "easifish"
    rows = list(error_estimate(data, regimes, parts, base=1000 if options.fitted else 7000))
    print(markdown(rows, COLUMNS))
    last = rows[-1]
    print(f"\nfactor for 80 %: {last['factor']:.2f} of blocks, {last['cubes_factor']:.2f} of cubes")
