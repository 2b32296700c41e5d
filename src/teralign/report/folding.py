"""Whether a stored field folds space anywhere, in one pass over a field of any size."""

from __future__ import annotations

import math

from teralign.transforms import Folding, StoredField, jacobian_determinants

_SIDE = 128


def stored_folding(field: StoredField, *, threads: int = 1) -> Folding:
    """The least Jacobian determinant over all nodes, and the share of them where it is 0 or less."""
    least, folded = math.inf, 0
    for core in field.grid.region.split((_SIDE, _SIDE, _SIDE)):
        region = core.grow((1, 1, 1)).intersect(field.grid.region)
        determinants = jacobian_determinants(field.read(region), threads=threads)[core.relative_to(region).slices]
        least = min(least, float(determinants.min()))
        folded += int((determinants <= 0).sum())
    return Folding(least, folded / field.grid.region.size)
