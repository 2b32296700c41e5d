"""Registration of microscopy volumes too large for memory.

    import teralign as ta

    found = ta.align(fixed, moving, spacing=(2.0, 1.0, 1.0))
    aligned = found.warp(moving)

The names of `teralign.api` are imported when they are first used, so that commands start quickly.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from teralign.api import (
        Affine,
        Assessment,
        BlockOptions,
        Compute,
        DisplacementField,
        ErrorEstimate,
        Frame,
        Grid,
        InputError,
        Registration,
        Side,
        Stack,
        TeralignError,
        Verdict,
        align,
        load,
        open,
        read_points,
    )

__version__ = "0.1.0"
__all__ = [
    "Affine",
    "Assessment",
    "BlockOptions",
    "Compute",
    "DisplacementField",
    "ErrorEstimate",
    "Frame",
    "Grid",
    "InputError",
    "Registration",
    "Side",
    "Stack",
    "TeralignError",
    "Verdict",
    "__version__",
    "align",
    "load",
    "open",
    "read_points",
]


def __getattr__(name: str) -> object:
    if name in __all__:
        value: object = getattr(import_module("teralign.api"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'teralign' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
