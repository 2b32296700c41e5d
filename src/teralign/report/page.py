"""Pages of the report: one HTML file that holds its pictures, style and script, and asks nothing of a network."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from teralign import __version__
from teralign.grids import reverse_axes
from teralign.results import to_json
from teralign.trust import ErrorEstimate

_FOLDER = Path(__file__).parent / "templates"

STATES = {"before": "Before", "global": "After the global step", "after": "After all steps"}
"""The names of the states of an alignment, for people."""


def render(template: str, data: object, **values: object) -> str:
    """Return a page of this template; its script reads `data` as JSON. Raises jinja2's errors for a missing value."""
    return (
        _environment()
        .get_template(template)
        .render(
            style=Markup((_FOLDER / "style.css").read_text("utf-8")),
            script=Markup((_FOLDER / "viewer.js").read_text("utf-8")),
            data=embedded(data),
            version=__version__,
            **values,
        )
    )


def embedded(data: object) -> Markup:
    """Return `data` as JSON that may stand within a script element: no text in it can end the element."""
    return Markup(to_json(data).replace("<", "\\u003c"))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        um=micrometres,
        error=_error,
        number=number,
        percent=percent,
        triple=triple,
        state=lambda name: STATES.get(name, name),
        capitalise=lambda text: text[:1].upper() + text[1:],
        seconds=seconds,
        bytes=size,
    )
    return environment


def number(value: float | None, digits: int = 2) -> str:
    """Return a number with that many decimals, a dash where there is none."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def micrometres(value: float | None) -> str:
    """Return a length in µm with two or three figures that count."""
    if value is None or not math.isfinite(value):
        return "–"
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


def _error(estimate: ErrorEstimate) -> str:
    """Return the median of an error, or that it is below what can be told."""
    return (
        f"below {micrometres(estimate.floor)}" if estimate.median < estimate.floor else micrometres(estimate.median)
    )


Facts = Sequence[Mapping[str, str]]
