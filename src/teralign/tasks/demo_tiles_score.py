"""`demo-tiles-score`: the error of stitched tiles of the demo, and of what was aligned from them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from teralign.errors import InputError
from teralign.evaluation import LandmarkErrors, errors_at, landmark_pairs
from teralign.grids import Floats
from teralign.tasks.demo_score import Spread
from teralign.tasks.demo_tiles import TRUTH
from teralign.tiles import Tile, TileSet, read_tiles
from teralign.transforms import Stack, load_stack
from teralign.volumes.files import read_json


@dataclass(frozen=True)
class VoxelErrors:
    """The median, 95th percentile and largest of errors of positions, in voxels."""

    median: float
    p95: float
    largest: float

    @classmethod
    def of(cls, offsets: Floats) -> VoxelErrors:
        """Return those of offsets (n, 3) in voxels, against their median."""
        lengths = np.linalg.norm(offsets - np.median(offsets, axis=0), axis=1)
        return cls(*(round(float(v), 4) for v in np.percentile(lengths, [50, 95, 100])))


@dataclass(frozen=True)
class RoundScore:
    """The errors of the positions of a round's tiles in voxels, as the stage has them and as they were solved."""

    tiles: int
    without_evidence: int
    stage_error: VoxelErrors
    solved_error: VoxelErrors


@dataclass(frozen=True)
class DemoTilesScore:
    """The errors of both rounds, and those at the landmarks of the aligned rounds, in µm.

    `tre_um_stitched` is that of rounds that were stitched, `tre_um_whole` that of the rounds as whole volumes, and
    `tre_ratio` the quotient of their medians; None where that alignment was not given.
    """

    fixed: RoundScore
    moving: RoundScore
    tre_um_stitched: Spread | None
    tre_um_whole: Spread | None
    tre_ratio: float | None


def demo_tiles_score(
    demo_dir: str | Path,
    fixed: str | Path,
    moving: str | Path,
    *,
    aligned: str | Path | None = None,
    whole: str | Path | None = None,
) -> DemoTilesScore:
    """Return the errors of the solved tiles `fixed` and `moving` of `demo_dir`, demo data with tiles.

    `aligned` is the transform between the stitched rounds, `whole` that between the rounds of `demo_dir`. Where all
    tiles of a round lie is free, so landmarks are moved by the median offset of its tiles.

    Raises InputError for folders without a truth, and for tiles that are not its own.
    """
    demo = Path(demo_dir)
    truth = read_json(demo / TRUTH)
    if not truth:
        raise InputError(f"there is no {demo / TRUTH}; make the demo data with --tiles.")
    rounds = {
        name: _Placed.of(truth[name], read_tiles(path)) for name, path in (("fixed", fixed), ("moving", moving))
    }
    landmarks = landmark_pairs(demo / "landmarks_fixed.csv", demo / "landmarks_moving.csv")
    moved = landmarks[0] + rounds["fixed"].offset, landmarks[1] + rounds["moving"].offset
    stitched = None if aligned is None else LandmarkErrors.of(errors_at(_map(aligned), *moved))
    unstitched = None if whole is None else LandmarkErrors.of(errors_at(_map(whole), *landmarks))
    ratio = stitched.median / unstitched.median if stitched and unstitched else None
    return DemoTilesScore(
        rounds["fixed"].score,
        rounds["moving"].score,
        None if stitched is None else Spread.of(stitched),
        None if unstitched is None else Spread.of(unstitched),
        None if ratio is None else round(ratio, 3),
    )


@dataclass(frozen=True)
class _Placed:
    """The score of a round, and the median offset (z, y, x) µm of its tiles from their true positions."""

    score: RoundScore
    offset: Floats

    @classmethod
    def of(cls, truth: dict[str, object], tiles: TileSet) -> _Placed:
        """Compare the tiles with the truth of a round, by row and column."""
        true = {(t["row"], t["column"]): t["true"] for t in truth["tiles"]}  # type: ignore[attr-defined]
        spacing = np.array(truth["spacing_um"])
        if {tile.index[1:] for tile in tiles.tiles if tile.index} != set(true):
            raise InputError("the tiles are not those of the demo data; give the solved tiles of its own rounds.")
        solved, stage = (
            np.array([np.subtract(at(tile), true[tile.index[1:]]) for tile in tiles.tiles if tile.index])
            for at in (lambda tile: tile.position, _stage_of)
        )
        lost = sum("no_evidence" in tile.flags for tile in tiles.tiles)
        score = RoundScore(len(true), lost, VoxelErrors.of(stage / spacing), VoxelErrors.of(solved / spacing))
        return cls(score, np.median(solved, axis=0))


def _stage_of(tile: Tile) -> tuple[float, float, float]:
    return tile.position if tile.stage is None else tile.stage


def _map(path: str | Path) -> Stack:
    if not Path(path).exists():
        raise InputError(f"there is no {path}; give the transform of an alignment, such as transform.zarr.")
    return load_stack([path])
