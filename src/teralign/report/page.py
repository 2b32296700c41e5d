"""Pages of the report: one HTML file that holds its pictures, style and script, and asks nothing of a network."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

from teralign import __version__
from teralign.report import formatting
from teralign.report.states import STATES
from teralign.results import to_json

if TYPE_CHECKING:
    from jinja2 import Environment

_FOLDER = Path(__file__).parent / "templates"


def render(template: str, data: object, *, scripts: Sequence[str] = (), **values: object) -> str:
    """Return a page of this template; its scripts read `data` as JSON. Raises jinja2's errors for a missing value."""
    return (
        _environment()
        .get_template(template)
        .render(
            style=Markup((_FOLDER / "style.css").read_text("utf-8")),
            script=Markup("\n".join((_FOLDER / name).read_text("utf-8") for name in scripts)),
            data=embedded(data),
            version=__version__,
            **values,
        )
    )


def render_part(template: str, name: str, *values: object) -> str:
    """Return the text of one macro of a template."""
    return str(getattr(_environment().get_template(template).module, name)(*values))


def embedded(data: object) -> Markup:
    """Return `data` as JSON that may stand within a script element: no text in it can end the element."""
    return Markup(to_json(data).replace("<", "\\u003c"))


@cache
def _environment() -> Environment:
    # Here, since most commands that import the report make no page.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        um=formatting.micrometres,
        error=formatting.error,
        number=formatting.number,
        percent=formatting.percent,
        triple=formatting.triple,
        state=lambda name: STATES.get(name, name),
        capitalise=lambda text: text[:1].upper() + text[1:],
        seconds=formatting.seconds,
        bytes=formatting.size,
    )
    return environment
