"""A summary of the blocks of a local alignment: their states, reasons and metrics."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from teralign.errors import InputError

QUANTILES = {"min": 0, "p10": 10, "median": 50, "p90": 90, "max": 100}
MEASURES = ("metric_before", "metric_after", "min_jacobian")


@dataclass(frozen=True)
class BlockSummary:
    """The number of blocks, in all, by state and by their ten most frequent reasons; quantiles of their metrics.

    Quantiles are named as in QUANTILES, and empty where no block has the metric. The alignment started from the
    files `started_from`; a `skipped` one has no blocks.
    """

    skipped: bool
    started_from: Sequence[str]
    blocks: int
    states: Mapping[str, int]
    reasons: Mapping[str, int]
    metric_before: Mapping[str, float]
    metric_after: Mapping[str, float]
    min_jacobian: Mapping[str, float]


def summarise_blocks(path: Path) -> BlockSummary:
    """Return a summary of the .blocks.json of a local alignment. Raises InputError for any other file."""
    try:
        content = json.loads(path.read_text())
        records = list(content["records"])
        states = Counter(str(record["state"]) for record in records)
    except OSError as error:
        raise InputError(f"--blocks {path} cannot be read: {error.strerror or error}.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"--blocks {path} is not the .blocks.json that local-align writes.") from error
    reasons = Counter(record["reason"] for record in records if record.get("reason"))
    return BlockSummary(
        skipped=bool(content.get("skipped")),
        started_from=[str(name) for name in content.get("started_from", ())],
        blocks=len(records),
        states=dict(states.most_common()),
        reasons=dict(reasons.most_common(10)),
        **{name: _quantiles(record.get(name) for record in records) for name in MEASURES},
    )


def _quantiles(values: Iterable[object]) -> Mapping[str, float]:
    """Return the QUANTILES of the finite numbers among the values, or nothing if there are none."""
    numbers = [v for v in values if isinstance(v, int | float) and np.isfinite(v)]
    if not numbers:
        return {}
    return dict(zip(QUANTILES, map(float, np.percentile(numbers, list(QUANTILES.values()))), strict=True))
