"""Intensities put right: uneven light, tiles of different brightness, bias of a volume. Arrays in, arrays out."""

from teralign.correction.balance import Balance, MatchedOverlap, balance_tiles, match_overlap
from teralign.correction.bias import apply_bias, estimate_bias
from teralign.correction.estimate import LEAST_PLANES, Planes, Shading, estimate_shading
from teralign.correction.flatfield import FlatField, read_flatfield, write_flatfield

__all__ = [
    "LEAST_PLANES",
    "Balance",
    "FlatField",
    "MatchedOverlap",
    "Planes",
    "Shading",
    "apply_bias",
    "balance_tiles",
    "estimate_bias",
    "estimate_shading",
    "match_overlap",
    "read_flatfield",
    "write_flatfield",
]
