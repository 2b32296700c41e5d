"""Teralign as a library for scripts and notebooks: `import teralign as ta` gives these names."""

from teralign.alignment import BlockOptions, Side
from teralign.api.aligning import align
from teralign.api.frames import Frame
from teralign.api.loading import load
from teralign.api.opening import open
from teralign.api.points import read_points
from teralign.api.registration import Registration
from teralign.cluster import Compute
from teralign.errors import InputError, TeralignError
from teralign.grids import Grid
from teralign.transforms import Affine, DisplacementField, Stack
from teralign.trust import Assessment, ErrorEstimate, Verdict

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
    "align",
    "load",
    "open",
    "read_points",
]
