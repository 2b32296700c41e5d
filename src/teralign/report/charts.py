"""Histograms as small SVG pictures, which any page and printer shows sharply, in the colours of the page.

A library for plots would bring 1 to 4 MB of script for each page (plotly, vega), or be the heaviest dependency of all
(matplotlib); bars need 40 lines.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import ArrayLike

_WIDTH, _HEIGHT = 420, 204
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 12, 26, 40


@dataclass(frozen=True)
class Bins:
    """Counts of values in equal bins from `low` to `high`; the first and the last also hold those beyond."""

    low: float
    high: float
    counts: tuple[int, ...]

    @classmethod
    def of(cls, values: ArrayLike, low: float, high: float, number: int = 40) -> Bins:
        """Count the finite ones of some values."""
        finite = np.asarray(values, np.float64)
        finite = finite[np.isfinite(finite)]
        counts, _ = np.histogram(np.clip(finite, low, high), number, (low, high))
        return cls(low, high, tuple(int(n) for n in counts))


def histogram_svg(
    bins: Bins, *, label: str, unit: str, counted: str, before: Bins | None = None, mark: float | None = None
) -> Markup:
    """Return bars for the shares of `bins`, with axes; `before` stands behind them in grey, `mark` is a dashed line.

    `label` and `unit` name the horizontal axis; `counted` are the things counted, such as "blocks".
    """
    shown = [bins] if before is None else [before, bins]
    shares = [[n / max(1, sum(one.counts)) for n in one.counts] for one in shown]
    top = max(max(row) for row in shares) or 1.0
    parts = []
    for number, row in enumerate(shares):
        style = "bar faint" if number < len(shares) - 1 else "bar"
        parts += [_bar(i, len(row), share / top, style) for i, share in enumerate(row) if share > 0]
    if mark is not None and bins.low <= mark <= bins.high:
        x = _at((mark - bins.low) / (bins.high - bins.low))
        parts.append(f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{_HEIGHT - _BOTTOM}"/>')
    parts += _axes(bins, top, f"{label} ({unit})" if unit else label, counted)
    total = sum(bins.counts)
    text = f"Histogram of {label}{f' in {unit}' if unit else ''} over {total} {counted}"
    return Markup(
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}" role="img" '
        f'aria-label="{escape(text)}">{"".join(parts)}</svg>'
    )


def round_ticks(low: float, high: float, wanted: int = 5) -> Sequence[float]:
    """Return about `wanted` round numbers from `low` to `high`."""
    rough = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def _at(share: float) -> float:
    return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)


def _bar(index: int, number: int, height: float, style: str) -> str:
    """Return one bar; `height` is a share of the plot's."""
    full = _HEIGHT - _TOP - _BOTTOM
    x, width = _at(index / number), (_WIDTH - _LEFT - _RIGHT) / number
    tall = height * full
    return (
        f'<rect class="{style}" x="{x:.1f}" y="{_TOP + full - tall:.1f}" '
        f'width="{max(width - 0.6, 0.5):.1f}" height="{tall:.1f}"/>'
    )


def _axes(bins: Bins, top: float, label: str, counted: str) -> list[str]:
    """Return both axes with their ticks and names."""
    base = _HEIGHT - _BOTTOM
    parts = [f'<path class="axis" fill="none" d="M{_LEFT} {_TOP}V{base}H{_WIDTH - _RIGHT}"/>']
    for tick in round_ticks(bins.low, bins.high):
        x = _at((tick - bins.low) / (bins.high - bins.low))
        parts.append(f'<path class="axis" d="M{x:.1f} {base}v4"/>')
        parts.append(f'<text x="{x:.1f}" y="{base + 17}" text-anchor="middle">{tick:.4g}</text>')
    for tick in round_ticks(0, 100 * top, 3)[1:]:
        y = base - tick / (100 * top) * (base - _TOP)
        parts.append(f'<path class="axis" d="M{_LEFT} {y:.1f}h-4"/>')
        parts.append(f'<text x="{_LEFT - 7}" y="{y + 4:.1f}" text-anchor="end">{tick:.4g} %</text>')
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{_HEIGHT - 5}" text-anchor="middle">{escape(label)}</text>')
    parts.append(f'<text x="4" y="14" text-anchor="start">share of {escape(counted)}</text>')
    return parts
