"""How well the errors of blocks follow from those of other blocks, on pairs with a known map cut into four blocks.

    TERALIGN_TEST_DATA=… python -m benchmarks error-blocks [--fitted] [--only NAME …]

A pair of 48×128×128 voxels is aligned at a quarter of its resolution and then block by block, as `local-align` does.
In each block the error is measured, and estimated from the other three (`spread`) and from each one of them alone
(`from one`). Each is compared with the true error over bright voxels, as in `error-estimate`. By default the regimes
and parts are others than those that were looked at when the rule was made (`--fitted`).
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from benchmarks.error_estimate import FITTED, HELD_OUT, distance
from benchmarks.known_maps import KnownPair, Regime, known_pair
from benchmarks.tables import Row, markdown
from teralign.alignment.stages import COARSER
from teralign.grids import Bools, Floats, Region, Triple, as_triple
from teralign.registration import DeformConfig, align
from teralign.transforms import Stack
from teralign.trust import cubes_in, cubes_over, estimate_errors, rms, spread_errors

log = logging.getLogger("benchmarks")
_SHAPE: Triple = (96, 256, 256)  # rendered voxels, twice those of the images
_HALO = 8  # voxels
_LOOKED_AT = ("base", "SNR 3", "blur z 4", "depth 60 µm", "stripes 30 %", "8 µm, knots 40", "other round")
_HELD_OUT = (
    *("other round", "15 µm, knots 70", "7 µm, knots 35", "SNR 2", "SNR 3 and blur z 3", "blur z 5", "gamma 0.7"),
    *("depth 45 µm", "stripes 15 %", "20 % saturated", "contrast wave 1.6", "puncta, other round"),
)
_PLACES: dict[bool, tuple[int, Triple]] = {True: (3000, (60, 200, 60)), False: (9000, (150, 60, 60))}
_KINDS = ("measured", "spread", "from one")
COLUMNS = {
    "": "label",
    "blocks": "blocks:d",
    "true µm": "true:.2f",
    **{f"{kind}: within 1.5": f"{kind}:.0%" for kind in _KINDS},
    **{f"{kind}: within 2": f"{kind} 2:.0%" for kind in _KINDS},
    "CPU s deform": "deform_s:.2f",
    "measure": "measure_s:.2f",
}


@dataclass(frozen=True)
class _Block:
    """The middle of a block in µm, its true and measured error, its noise, and the CPU seconds of both steps."""

    place: Floats
    true: float
    measured: float
    noise: float
    seconds: tuple[float, float]


def error_blocks(data: Path, regimes: Mapping[int, Regime], corner: Triple) -> Iterator[Row]:
    """Yield a row for each regime, by its seed, and one for all."""
    everything: list[dict[str, list[float]]] = []
    seconds: list[tuple[float, float]] = []
    for seed, regime in regimes.items():
        blocks = list(_aligned(known_pair(data, regime, seed, corner, _SHAPE)))
        everything.append(_scores(blocks))
        seconds += [block.seconds for block in blocks]
        row = _row(regime.name, everything[-1:], [block.seconds for block in blocks])
        log.info("%s: %s", regime.name, row)
        yield row
    yield _row("all", everything, seconds)


def _aligned(pair: KnownPair) -> Iterator[_Block]:
    fixed, moving, grid, start = pair.fixed, pair.moving, pair.fixed.grid, Stack((pair.start,))
    coarse = [image.downsample_to(COARSER * min(grid.spacing)) for image in (fixed, moving)]
    steps, nodes = [DeformConfig().at_stage(COARSER)], coarse[0].grid.nodes((1, 1, 1))
    start = start @ align(*coarse, steps, initial_transform=start, field_grid=nodes).transform
    config = DeformConfig().at_stage(1, previous=COARSER).with_window_for(float(np.cbrt(np.prod(grid.spacing))))
    smooth = ndimage.gaussian_filter(fixed.array.astype(np.float32), 1.0)
    bright, cubes = smooth > np.percentile(smooth, 75), cubes_over(grid)
    for core in grid.region.split((grid.shape[0], *(-(-n // 2) for n in grid.shape[1:]))):
        part = fixed.crop(core.grow((_HALO,) * 3).intersect(grid.region))
        low, high = part.grid.to_physical((0, 0, 0)), part.grid.to_physical(np.array(part.grid.shape) - 1)
        where = moving.grid.covering(*start.bounds(low, high), margin=COARSER).intersect(moving.grid.region)
        seen, began = moving.crop(where), time.process_time()
        found = align(part, seen, [config], initial_transform=start, field_grid=part.grid.nodes((4, 4, 4)))
        whole, aligned = start @ found.transform, time.process_time()
        region = cubes_in(grid, core)
        errors = estimate_errors(part, seen, transform=whole, config=config, cubes=cubes, region=region)
        measured = time.process_time()
        noise = float(found.reports[0].details.get("voxel_error_um", np.nan))
        true = _true_error(pair, whole, core, bright)
        yield _Block(
            grid.crop(core).centre, true, rms(errors) or np.nan, noise, (aligned - began, measured - aligned)
        )


def _true_error(pair: KnownPair, found: Stack, core: Region, bright: Bools) -> float:
    """Return the root mean square of the true errors in µm over the bright voxels that the moving image shows."""
    points = pair.fixed.grid.to_physical(np.argwhere(bright[core.slices])[::2] + np.array(as_triple(core.start)))
    true, seen = pair.to_moving(points)
    return float(np.sqrt(np.square(found.map_points(points[seen]) - true[seen]).sum(axis=1).mean()))


def _scores(blocks: Sequence[_Block]) -> dict[str, list[float]]:
    """Return how far each estimate is from the truth, as a logarithm, by the kinds of estimates; and the truths."""
    places = np.array([block.place for block in blocks])
    true, measured, noise = (np.array([getattr(b, name) for b in blocks]) for name in ("true", "measured", "noise"))
    away: dict[str, list[float]] = {kind: [] for kind in _KINDS}
    away["measured"] = distance(true, measured).tolist()
    for i in range(len(blocks)):
        others = np.where(np.arange(len(blocks)) == i, np.nan, measured)
        away["spread"].append(float(distance(true, spread_errors(places, noise, others))[i]))
        alone = np.where(np.arange(len(blocks)) == i, measured, np.nan)
        away["from one"] += np.delete(distance(true, spread_errors(places, noise, alone)), i).tolist()
    return {**away, "true": true.tolist()}


def _row(label: str, scores: Sequence[dict[str, list[float]]], seconds: Sequence[tuple[float, float]]) -> Row:
    joined = {name: np.array([value for some in scores for value in some[name]]) for name in (*_KINDS, "true")}
    row: Row = {"label": label, "blocks": len(joined["true"]), "true": float(np.median(joined["true"]))}
    for kind in _KINDS:
        row[kind] = float(np.mean(joined[kind] <= np.log(1.5)))
        row[f"{kind} 2"] = float(np.mean(joined[kind] <= np.log(2)))
    deform_s, measure_s = np.mean(seconds, axis=0)
    return {**row, "deform_s": float(deform_s), "measure_s": float(measure_s)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Score, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks error-blocks", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--fitted", action="store_true", help="the regimes that were looked at")
    parser.add_argument("--only", nargs="+", help="names of regimes")
    options = parser.parse_args(arguments)
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    log.setLevel(logging.INFO)
    known, names = (FITTED, _LOOKED_AT) if options.fitted else (HELD_OUT, _HELD_OUT)
    base, corner = _PLACES[options.fitted]
    numbered = dict(enumerate((regime for regime in known if regime.name in names), start=base))
    regimes = {seed: r for seed, r in numbered.items() if not options.only or r.name in options.only}
    data = Path(os.environ["TERALIGN_TEST_DATA"]) / "easifish"
    print(markdown(list(error_blocks(data, regimes, corner)), COLUMNS))
