"""What must hold of stitched tiles, over all seeds: what is asked, what was found, and whether it is met."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from benchmarks.tables import Row, Value

COLUMNS = {"must hold": "must", "asked": "asked", "found": "found", "median over seeds": "middle", "met": "met"}
_AT_MOST, _AT_LEAST = "≤", "≥"

_MUSTS = (
    ("tissue, median of the worst seed, voxels", "median", max, _AT_MOST, 0.15),
    ("tissue, 95th percentile of the worst seed", "p95", max, _AT_MOST, 0.3),
    ("tissue, worst tile", "max", max, _AT_MOST, 0.6),
    ("tiles thrown off", "thrown", sum, _AT_MOST, 0),
    ("bare tiles not flagged", "unflagged", sum, _AT_MOST, 0),
    ("tiles without evidence further off than the stage by 0.1 voxel", "further", sum, _AT_MOST, 0),
    ("pairs, CPU-µs a voxel of overlap, dearest seed", "voxel_us", max, _AT_MOST, 0.3),
    ("fusion, Mvoxel a CPU-s, slowest seed", "fused_mvoxel", min, _AT_LEAST, 30),
    ("fusion, CPU of bare copies", "fused_copies", max, _AT_MOST, 1.5),
    ("seams above what is away from them, % of the foreground", "seam_above", max, _AT_MOST, 0.2),
)


def summary(rows: Sequence[Row]) -> list[Row]:
    """Return a row for each thing that must hold, from the rows of ours; what was not measured has none."""
    ours = [row for row in rows if row.get("tool") == "teralign"]
    made = [row for row in ours if isinstance(row.get("seed"), int)]
    found = []
    for must, key, over, sense, asked in _MUSTS:
        values = _numbers(made, key)
        if values:
            worst = over(values)
            met = worst <= asked if sense == _AT_MOST else worst >= asked
            found.append(
                _row(must, f"{sense} {asked:g}", worst, met) | {"middle": f"{statistics.median(values):.3g}"}
            )
    found += _without_evidence(made)
    for row in (row for row in ours if "ncc_fiji" in row):
        median, mine, theirs = (float(str(row[key])) for key in ("median", "ncc", "ncc_fiji"))
        asked_of = f"≤ 1, or overlaps above {theirs:.3f}"
        found.append(
            _row("63 real tiles, pixels from Fiji's, median", asked_of, median, median <= 1 or mine > theirs)
        )
        found[-1]["found"] = f"{median:.3g}; {mine:.3f}"
    return found


def _without_evidence(rows: Sequence[Row]) -> list[Row]:
    """Return the row of the errors that are left of the stage's, over all tiles without evidence."""
    counts, stage, left = (_numbers(rows, key) for key in ("lone", "lone_stage", "lone_left"))
    total = sum(counts)
    if not total:
        return []
    before = sum(n * value for n, value in zip(counts, stage, strict=True)) / total
    after = sum(n * value for n, value in zip(counts, left, strict=True)) / total
    must = f"{total:.0f} tiles without evidence, error by the stage's ({before:.2f} voxels)"
    return [_row(must, "≤ 0.5 where it can be learnt", after / before, after <= before / 2)]


def _row(must: str, asked: str, found: float, met: bool) -> Row:
    return {"must": must, "asked": asked, "found": f"{found:.3g}", "met": "yes" if met else "no"}


def _numbers(rows: Sequence[Row], key: str) -> list[float]:
    values: list[Value] = [row.get(key) for row in rows]
    return [float(value) for value in values if value is not None]
