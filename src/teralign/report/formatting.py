"""Numbers as people read them in a report, with their units; a dash stands where there is none."""

from __future__ import annotations

import math
from collections.abc import Sequence

from teralign.grids import reverse_axes
from teralign.trust import ErrorEstimate


def number(value: float | None, digits: int = 2) -> str:
    """Return a number with that many decimals, a dash where there is none."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def micrometres(value: float | None) -> str:
    """Return a length in µm with two or three figures that count."""
    if value is None or not math.isfinite(value):
        return "–"
    if 0 < abs(value) < 0.005:
        return "< 0.01 µm"
    return f"{value:.{0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2}f} µm"


def percent(share: float | None) -> str:
    """Return a share as per cent; a share that is not 0 never reads as 0, and one below 1 never as 100."""
    if share is None or not math.isfinite(share):
        return "–"
    if 0 < share < 0.001:
        return "below 0.1 %"
    if 0.999 < share < 1:
        return "above 99.9 %"
    return f"{100 * share:.{0 if share in (0, 1) else 1}f} %"


def triple(values: Sequence[float]) -> str:
    """Return a triple (z, y, x) as people write it: x × y × z."""
    return " × ".join(f"{value:.4g}" for value in reverse_axes(values))


def seconds(value: float | None) -> str:
    """Return a time in the two largest units that it has."""
    if value is None or not math.isfinite(value):
        return "–"
    if value < 60:
        return f"{value:.{1 if value < 10 else 0}f} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def size(value: float | None) -> str:
    """Return a number of bytes in the unit that suits it."""
    if value is None or not math.isfinite(value):
        return "–"
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.{0 if unit == 'B' or value >= 100 else 1}f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def error(estimate: ErrorEstimate) -> str:
    """Return the median of an error, or that it is below what can be told."""
    return (
        f"below {micrometres(estimate.floor)}" if estimate.median < estimate.floor else micrometres(estimate.median)
    )
