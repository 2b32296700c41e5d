"""What became of the blocks of a local alignment, summed up."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from teralign.errors import InputError

QUANTILES = {"min": 0, "p10": 10, "median": 50, "p90": 90, "max": 100}
MEASURES = ("metric_before", "metric_after", "min_jacobian")


def summarise_blocks(path: Path) -> dict[str, Any]:
    """Blocks by state and by reason, and quantiles of their metrics, from the .blocks.json of a local alignment.

    Raises InputError when the file is none.
    """
    try:
        records = list(json.loads(path.read_text())["records"])
        states = Counter(str(record["state"]) for record in records)
    except OSError as error:
        raise InputError(f"--blocks {path} cannot be read: {error.strerror or error}.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"--blocks {path} is not the .blocks.json that local-align writes.") from error
    reasons = Counter(record["reason"] for record in records if record.get("reason"))
    return {
        "blocks": len(records),
        "states": dict(states.most_common()),
        "reasons": dict(reasons.most_common(10)),
        **{name: _quantiles(record.get(name) for record in records) for name in MEASURES},
    }


def _quantiles(values: Iterable[Any]) -> Mapping[str, float]:
    """Quantiles of the numbers among the values; empty without any."""
    numbers = [v for v in values if isinstance(v, int | float) and np.isfinite(v)]
    if not numbers:
        return {}
    return dict(zip(QUANTILES, map(float, np.percentile(numbers, list(QUANTILES.values()))), strict=True))
