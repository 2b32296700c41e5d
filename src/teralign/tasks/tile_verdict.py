"""The verdict on solved tiles, from the pairs that they were solved from: of solve-tiles and of report-tiles."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from teralign.errors import InputError
from teralign.grids import Floats, FloatTriple
from teralign.report import TileOverlap
from teralign.stitching.pairs import TilePair
from teralign.stitching.place_models import residual_of
from teralign.tiles import Solution, Tile, TileSet
from teralign.trust import Assessment, Overlaps, StitchingFacts, judge_tiles, position_errors
from teralign.trust.tiles import UNIT_ERROR

_ASKEW = 0.5  # of a tile: neighbours are not further apart along the other axes


@dataclass(frozen=True)
class JudgedTiles:
    """The verdict, the estimated error (n,) µm of each tile, NaN where no loop tells it, and the median correlation.

    `before` and `after` are those of the used overlaps at the stage's and at the solved positions, None without any.
    """

    assessment: Assessment
    errors: Floats
    before: float | None
    after: float | None


def judge(tiles: TileSet, overlaps: Sequence[TileOverlap]) -> JudgedTiles:
    """Return the verdict on solved tiles and their `overlaps`."""
    errors = _errors(tiles, overlaps)
    confirmed = [overlap for overlap in overlaps if overlap.state == "confirmed"]
    before = _median([overlap.before for overlap in confirmed])
    after = _median([overlap.after for overlap in confirmed])
    return JudgedTiles(judge_tiles(_facts(tiles, overlaps, errors, before, after)), errors, before, after)


def overlaps_of(tiles: TileSet, solution: Solution, pairs: Sequence[TilePair], document: str) -> list[TileOverlap]:
    """Return the overlaps with their residuals; of those with evidence the solver removed the worst.

    Raises InputError for a pair of tiles that the solution lacks.
    """
    known = {tile.name: tile for tile in tiles.tiles}
    residuals: dict[int, Floats] = {}
    for k, pair in enumerate(pairs):
        for tile in (pair.fixed, pair.moving):
            if tile not in known:
                raise InputError(
                    f"{document} has a pair with {tile}, which is no tile of the solution; give its own."
                )
        if pair.evidence:
            apart = residual_of(known[pair.fixed], known[pair.moving], pair, np.array(tiles.spacing))
            residuals[k] = np.where([error is not None for error in pair.error], apart, np.nan)
    lengths = {k: float(np.linalg.norm(np.nan_to_num(r / tiles.spacing))) for k, r in residuals.items()}
    worst = sorted(lengths, key=lambda k: -lengths[k])[: solution.edges_removed]
    found = []
    for k, pair in enumerate(pairs):
        state = "removed" if k in worst else "confirmed" if pair.evidence else pair.reason
        residual = [float(v) if np.isfinite(v) else None for v in residuals.get(k, ())]
        found.append(
            TileOverlap(
                pair.fixed,
                pair.moving,
                state,
                pair.ncc_before,
                pair.ncc,
                pair.second,
                pair.voxels,
                pair.error,
                (residual[0], residual[1], residual[2]) if residual else None,
            )
        )
    return found


def stage_of(tile: Tile) -> FloatTriple:
    """Return where the stage had a tile (z, y, x) µm."""
    return tile.position if tile.stage is None else tile.stage


def _errors(tiles: TileSet, overlaps: Sequence[TileOverlap]) -> Floats:
    """Return the estimated error (n,) in µm of each tile, NaN where no loop tells it."""
    numbers = {tile.name: k for k, tile in enumerate(tiles.tiles)}
    used = [o for o in overlaps if o.state == "confirmed" and o.residual_um]
    edges = np.array([(numbers[o.fixed], numbers[o.moving]) for o in used], np.int64).reshape(-1, 2)
    residuals = np.array([o.residual_um for o in used], np.float64).reshape(-1, 3)
    known = np.array([o.shift_error_um for o in used], np.float64).reshape(-1, 3)
    weights = np.nan_to_num((UNIT_ERROR * np.asarray(tiles.spacing) / known) ** 2)
    axes = [axis for axis in range(3) if any(tile.shape[axis] > 1 for tile in tiles.tiles)]
    return position_errors(len(tiles.tiles), edges, np.nan_to_num(residuals), weights, tiles.spacing, axes=axes)


def _facts(
    tiles: TileSet, overlaps: Sequence[TileOverlap], errors: Floats, before: float | None, after: float | None
) -> StitchingFacts:
    """Return what the verdict rests on."""
    counts = Counter(o.state for o in overlaps)
    showing = [tile for tile in tiles.present if "empty" not in tile.flags]
    held = Counter(tile.component for tile in showing if "no_evidence" not in tile.flags)
    return StitchingFacts(
        overlaps=Overlaps(
            confirmed=counts["confirmed"],
            removed=counts["removed"],
            not_found=counts["low correlation"] + counts["ambiguous"],
            without_content=counts["no content"],
            unreadable=counts["unreadable"],
        ),
        tiles=len(showing),
        held=max(held.values(), default=0),
        components=len(held),
        directions=_directions(tiles, overlaps),
        errors=errors,
        voxel=float(np.mean(tiles.spacing[1:])),
        before=before,
        after=after,
    )


def _directions(tiles: TileSet, overlaps: Sequence[TileOverlap]) -> dict[str, tuple[int, int]]:
    """Return the confirmed and all overlaps that show something between neighbours along z, y and x, not askew."""
    found = dict.fromkeys("zyx", (0, 0))
    for overlap in overlaps:
        if overlap.state in ("no content", "unreadable"):
            continue
        fixed, moving = (tiles.by_name(name) for name in (overlap.fixed, overlap.moving))
        apart = np.abs(np.subtract(stage_of(moving), stage_of(fixed))) / (np.array(fixed.shape) * tiles.spacing)
        axis = int(np.argmax(apart))
        if np.max(np.delete(apart, axis)) < _ASKEW:
            confirmed, examined = found["zyx"[axis]]
            found["zyx"[axis]] = (confirmed + (overlap.state == "confirmed"), examined + 1)
    return found


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else None
