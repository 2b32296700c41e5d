"""The folds of a stored field of any size, found in one pass."""

from __future__ import annotations

import math

from teralign.transforms import Folding, StoredField, jacobian_determinants

_SIDE = 128  # nodes along an edge of the regions read: 25 MB of displacements


def stored_folding(field: StoredField, *, threads: int = 1) -> Folding:
    """Return the minimum Jacobian determinant over all nodes, and the share of nodes where it is 0 or less."""
    smallest, folded = math.inf, 0
    for core in field.grid.region.split((_SIDE, _SIDE, _SIDE)):
        region = core.grow((1, 1, 1)).intersect(field.grid.region)
        determinants = jacobian_determinants(field.read(region), threads=threads)[core.relative_to(region).slices]
        smallest = min(smallest, float(determinants.min()))
        folded += int((determinants <= 0).sum())
    return Folding(smallest, folded / field.grid.region.size)
